/** `bytes` random bytes in hexadecimal. */
export const hex = (bytes: number): string => {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(bytes))) text += (256 + byte).toString(16).slice(1);
  return text;
};
