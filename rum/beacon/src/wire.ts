// The bodies of rum/WIRE.md. Short names: they are sent, and the minifier keeps them.

export type Reason = "impossible" | "full" | "unsent" | "noise" | "broken";

export type Lost = Partial<Record<Reason, number>>;

export interface Item {
  k: "view" | "vital" | "load" | "work" | "err" | "req";
  t?: number;
}

export interface Vital extends Item {
  k: "vital";
  name: string;
  id: string;
  val?: number;
  dlt: number;
  at?: Record<string, unknown>;
}

export interface Script {
  src: string;
  own: 0 | 1;
  ms: number;
  n: number;
  fn: string;
}

export interface Fault extends Item {
  k: "err";
  kind: "error" | "rejection" | "script";
  fp: string;
  n: number;
}
