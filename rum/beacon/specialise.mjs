// web-vitals serves every caller; we are one, with fixed options. These edits take out what no option of ours can
// reach and what we do not send. Each must apply exactly as often as it says, or the build stops: another version of
// web-vitals is looked at before it is shipped.

const always = "reportAllChanges and reportSoftNavs are always set";
const unset = "options that we never set";
const ownOptions = [/opts = Object\.assign\(\{\}, opts\);/, "", 1, "each watcher is called without options, and then has its own"];
const unsent = "attribution that we do not send";
const bindReporter = [/bindReporter\(onReport, metric, \w+, opts\.reportAllChanges\)/g, "bindReporter(onReport, metric)"];

/** file → [[what, with, times, why]] */
const EDITS = {
  "lib/bindReporter.js": [
    [/metric\.rating = getRating\(metric\.value, thresholds\);/, "", 1, unsent],
    [/if \(forceReport \|\| reportAllChanges\) \{/, "{", 1, always],
  ],
  "lib/softNavs.js": [[/ &&\s+opts &&\s+opts\.reportSoftNavs/, "", 1, always]],
  "lib/generateUniqueID.js": [[/return `[^`]*`/, "return Math.random().toString(36).slice(2)", 1, "no clock of the user's is sent"]],
  "lib/initMetric.js": [[/rating: 'good',/, "", 1, unsent]],
  "attribution/onLCP.js": [
    [/\nobserve\(\['resource'\]/, "\nconst watchResources = () => observe(['resource']", 1, "nothing is observed before consent"],
    [/opts = Object\.assign\(\{\}, opts\);/, "watchResources();", 1, "the same, and its own options"],
    [/opts\.generateTarget\?\.\(node\) \?\? /, "", 1, unset],
    [/if \(opts\.resourceBufferSize != undefined\) \{[^}]*\}/, "", 1, unset],
    [/attribution\.lcpEntry = lcpEntry;/, "", 1, unsent],
    [/attribution\.target =/, "attribution.el =", 1, "`target` is a name of the DOM too"],
    [/if \(lcpResourceEntry\) \{\s*attribution\.lcpResourceEntry = lcpResourceEntry;\s*\}/, "", 1, unsent],
    [/elementRenderDelay: metric\.value - lcpResponseEnd,\s*navigationEntry,/, "elementRenderDelay: metric.value - lcpResponseEnd,", 1, unsent],
  ],
  "attribution/onINP.js": [
    ownOptions,
    [/opts\.generateTarget\?\.\(node\) \?\? /, "", 1, unset],
    [/if \(opts\.includeProcessedEventEntries\) \{\s*group\.entries\.push\(entry\);\s*\}/, "", 1, unset],
    [/entries: opts\.includeProcessedEventEntries \? \[entry\] : \[\],/, "", 1, unset],
    [/const processedEventEntries = group\.entries\.sort\([\s\S]*?\}\);/, "", 1, unsent],
    [/processedEventEntries: (\[\]|processedEventEntries),/, "", 2, unsent],
    [/longAnimationFrameEntries: \[\],/, "", 1, unsent],
    [/if \(!attribution\.longAnimationFrameEntries[\s\S]*?\}/, "", 1, "without frames the loop has nothing to do"],
    [/(longestScript|total\w+): undefined,/, "", 5, unsent],
    [/totalStyleAndLayoutDuration =\s*totalStyleAndLayoutDuration \+[\s\S]*?;/, "", 1, unsent],
    [/const intersectingForceStyleAndLayoutDuration = [\s\S]*?;/, "", 1, unsent],
    [/totalScriptDuration \+=[\s\S]*?;/, "", 1, unsent],
    [/totalStyleAndLayoutDuration \+= [\s\S]*?;/, "", 1, unsent],
    [/longestScriptSubpart =[\s\S]*?;/, "", 1, unsent],
    [/subpart: longestScriptSubpart,/, "", 1, unsent],
    [/longestScriptEntry && longestScriptSubpart/, "longestScriptEntry", 1, unsent],
    [/const lastLoAF = [\s\S]*?totalPaintDuration = nextPaintTime - lastLoAFEndTime;\s*\}/, "", 1, unsent],
    [/attribution\.total\w+ =[\s\S]*?;/, "", 4, unsent],
  ],
  "attribution/onCLS.js": [
    ownOptions,
    [/opts\.generateTarget\?\.\(node\) \?\? /, "", 1, unset],
    [/largestShiftSource: largestSource,\s*largestShiftEntry: largestEntry,/, "", 1, unsent],
  ],
  "attribution/onFCP.js": [
    ownOptions,
    [/const fcpEntry = [^;]*;/, "", 1, unsent],
    [/navigationEntry,\s*fcpEntry,/, "", 1, unsent],
    [/loadState: 'complete',\s*navigationEntry,/, "loadState: 'complete',", 1, unsent],
  ],
  "attribution/onTTFB.js": [
    [/\/\/ There should only be one instance per TTFB metric\s*navigationEntry: navigationEntry,/, "", 1, unsent],
    [/requestDuration: metric\.value - connectEnd,\s*navigationEntry: navigationEntry,/, "requestDuration: metric.value - connectEnd,", 1, unsent],
  ],
  "onLCP.js": [
    [...bindReporter, 3, always],
    [/if \(!opts\.reportAllChanges && !softNavsEnabled\) \{\s*entries = entries\.slice\(-1\);\s*\}/, "", 1, always],
    [/\{\s*capture: true,?\s*\}/, "true", 2, "what the whole object says"],
  ],
  "onINP.js": [[...bindReporter, 2, always], [/\.\.\.opts,\s*durationThreshold: opts\.durationThreshold \?\? /, "durationThreshold: ", 1, unset]],
  "onCLS.js": [[...bindReporter, 2, always]],
  "onFCP.js": [[...bindReporter, 3, always]],
  "onTTFB.js": [[...bindReporter, 3, always]],
};

/** web-vitals' attribution, and what the wire calls it. */
export const NAMES = {
  timeToFirstByte: "ttfb", resourceLoadDelay: "delay", resourceLoadDuration: "dur", elementRenderDelay: "rend",
  firstByteToFCP: "rend", inputDelay: "in", processingDuration: "proc", presentationDelay: "pres",
  waitingDuration: "wait", cacheDuration: "cache", dnsDuration: "dns", connectionDuration: "conn", requestDuration: "req",
  interactionTarget: "el", largestShiftTarget: "el", largestShiftValue: "max", largestShiftTime: "when",
  interactionType: "type", loadState: "state",
};

/** Names that only web-vitals and we ourselves use. */
export const INTERNAL = ["navigationInteractionId", "navigationStartTime", "navigationURL", "attribution", "firstHiddenTime", "onHidden", "intersectingDuration"];

export const specialise = {
  name: "specialise",
  setup(build) {
    build.onLoad({ filter: /web-vitals[/\\]dist[/\\]modules[/\\].*\.js$/ }, async ({ path }) => {
      const { readFile } = await import("node:fs/promises");
      const name = path.replace(/\\/g, "/").split("/modules/")[1];
      let contents = await readFile(path, "utf8");
      for (const [what, by, times] of EDITS[name] ?? []) {
        const all = new RegExp(what.source, "g");
        const found = contents.match(all)?.length ?? 0;
        if (found !== times) throw new Error(`web-vitals ${name}: ${what} applies ${found} times, not ${times}`);
        contents = contents.replace(all, by);
      }
      return { contents, loader: "js" };
    });
  },
};
