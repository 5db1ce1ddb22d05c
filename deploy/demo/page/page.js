// Watch a film through steering, and see live which appliance serves each segment and why.
// The browser enters an ISP through the page's own proxy: /via/<client address>/<host>:<port>/…
"use strict";

const COLOURS = ["#24509a", "#7a3fa0", "#0f8a7e", "#c2571a", "#8a6d00", "#4b5563", "#a3195b"];
const REASONS = {
  H: "is unhealthy or silent", C: "does not hold it", L: "has no room for more",
  D: "is being drained", R: "has lost its route", "+": "is not needed: enough better ones",
};
const TROUBLE = {
  fragLoadError: "a request failed; the player tries the next box",
  fragLoadTimeOut: "no answer in time; the player tries the next box",
  levelLoadError: "a playlist could not be fetched",
  bufferStalledError: "playback stands still",
};
const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};

let world = null; // what /api/world said: ISPs, films, sites, boxes, steering
let isp = null;
let film = null;
let hls = null;
let lastBox = "";
let lastAsset = ""; // the picture's asset: what steering is asked to explain
const served = new Map(); // box id → {segments, bytes}

const boxOfHost = (host) => world.boxes.find((box) => box.host === host);
const colour = (id) => COLOURS[world.boxes.findIndex((box) => box.id === id) % COLOURS.length];

function viaProxy(url) {
  const target = new URL(url, location.href);
  if (target.origin === location.origin) return target.href;
  return `/via/${isp.client}/${target.host}${target.pathname}${target.search}`;
}

function hostOf(url) {
  const found = /\/via\/[^/]+\/([^/:]+)/.exec(url);
  return found ? found[1] : new URL(url).hostname;
}

function note(text) {
  const time = new Date().toLocaleTimeString();
  $("log").prepend(make("li", { textContent: `${time}  ${text}` }));
  while ($("log").children.length > 40) $("log").lastChild.remove();
}

function play() {
  if (hls) hls.destroy();
  served.clear();
  lastBox = lastAsset = "";
  $("segments").replaceChildren();
  const patient = { maxNumRetry: 1, retryDelayMs: 100, maxRetryDelayMs: 500 };
  const policy = (firstByteMs) => ({
    default: {
      maxTimeToFirstByteMs: firstByteMs, maxLoadTimeMs: 8000,
      timeoutRetry: { ...patient, maxNumRetry: 0 }, errorRetry: patient,
    },
  });
  hls = new Hls({
    maxBufferLength: 8, maxMaxBufferLength: 10, backBufferLength: 20,
    fragLoadPolicy: policy(1500), playlistLoadPolicy: policy(1500),
    xhrSetup: (xhr, url) => xhr.open("GET", viaProxy(url), true),
  });
  hls.on(Hls.Events.FRAG_LOADED, (_, data) => onSegment(data.frag, data.networkDetails));
  hls.on(Hls.Events.ERROR, (_, data) => note(TROUBLE[data.details] || `player: ${data.details}`));
  hls.on(Hls.Events.STEERING_MANIFEST_LOADED, (_, data) => {
    const order = data.steeringManifest["PATHWAY-PRIORITY"].join(", ");
    $("asked").textContent = `steering says: ${order}`;
  });
  hls.attachMedia($("film"));
  hls.loadSource(`${location.origin}/via/${isp.client}/${world.steering}/v1/play/${film}.m3u8`);
  hls.on(Hls.Events.MANIFEST_PARSED, () => $("film").play().catch(() => {}));
  note(`playing ${film} from ${isp.name}, as ${isp.client}`);
  explain();
}

function onSegment(frag, details) {
  if (frag.type !== "main" || frag.sn === "initSegment") return;
  const url = details.responseURL || frag.url;
  const box = boxOfHost(hostOf(url));
  if (!box) return;
  lastAsset = (/\/a\/(\d+)/.exec(url) || ["", ""])[1];
  const sum = served.get(box.id) || { segments: 0, bytes: 0 };
  sum.segments += 1;
  sum.bytes += frag.stats.total || frag.stats.loaded;
  served.set(box.id, sum);
  const cell = make("li", { textContent: frag.sn, title: `segment ${frag.sn} from ${box.id}` });
  cell.style.background = colour(box.id);
  cell.dataset.box = box.id;
  $("segments").append(cell);
  if (box.id !== lastBox) {
    if (lastBox) note(`${box.id} serves now, instead of ${lastBox}`);
    lastBox = box.id;
    explain();
  }
  const site = world.sites.find((one) => one.id === box.site);
  $("now").replaceChildren("Segment ", make("b", { textContent: frag.sn }), " came from ",
    make("b", { textContent: box.id }), `, ${site.words}.`);
  drawTotals();
}

function drawTotals() {
  const all = [...served.values()].reduce((sum, one) => sum + one.bytes, 0) || 1;
  $("totals").replaceChildren(...[...served].map(([id, sum]) => {
    const dot = make("span", { className: "dot" });
    dot.style.background = colour(id);
    const share = Math.round((100 * sum.bytes) / all);
    const text = `${id}: ${sum.segments} segments, ${(sum.bytes / 1e6).toFixed(1)} MB, ${share} %`;
    return make("li", {}, dot, text);
  }));
}

async function explain() {
  const what = lastAsset ? `asset=${lastAsset}` : `title=${film}`;
  const reply = await fetch(`/api/explain?client=${isp.client}&${what}`);
  if (!reply.ok) return;
  const why = await reply.json();
  $("why").replaceChildren(...why.sites.map((site, at) => {
    const known = world.sites.find((one) => one.id === site.site);
    const head = make("div", {},
      make("span", { className: "rank", textContent: `${at + 1}. ` }),
      make("b", { textContent: known ? known.name : site.site }),
      known ? `, ${known.words} ` : " ",
      make("small", { textContent: site.why }));
    const boxes = site.boxes.map((box) => {
      const words = box.chosen ? "chosen" : REASONS[box.reason] || "passed over";
      const more = box.detail && !box.chosen && !words.includes(box.detail.replace(/^is /, ""));
      const detail = more ? ` (${box.detail})` : "";
      return make("div", {
        className: box.chosen ? "chosen" : "passed",
        textContent: `${box.chosen ? "✓" : "–"} ${box.appliance} ${words}${detail}`,
      });
    });
    return make("li", {}, head, ...boxes);
  }));
}

async function command(box, what) {
  note(`you ${what} ${box}`);
  const reply = await fetch(`/api/box/${box}/${what}`, { method: "POST" });
  if (!reply.ok) note(`that failed: ${await reply.text()}`);
  refresh();
}

function drawFleet() {
  $("sites").replaceChildren(...world.sites.map((site) => {
    const boxes = world.boxes.filter((box) => box.site === site.id).map((box) => {
      const dot = make("span", { className: "dot" });
      dot.style.background = colour(box.id);
      const state = make("span", { className: `state ${box.state}`, textContent: box.words });
      const actions = box.can.map((what) =>
        make("button", { textContent: what, onclick: () => command(box.id, what) }));
      return make("div", { className: `box ${box.id === lastBox ? "serving" : ""}` },
        dot, make("b", { textContent: box.id }), state, ...actions);
    });
    const head = make("h3", {}, site.name, make("span", { textContent: ` – ${site.words}` }));
    return make("div", { className: "site" }, head, ...boxes);
  }));
}

function drawChoices(id, choices, chosen, onChoose) {
  $(id).replaceChildren(...choices.map((choice) => {
    const button = make("button", { textContent: choice.name, onclick: () => onChoose(choice) });
    button.setAttribute("aria-pressed", String(choice === chosen));
    return button;
  }));
}

function choose(newIsp, newFilm) {
  isp = newIsp;
  film = newFilm;
  drawChoices("isps", world.isps, isp, (choice) => choose(choice, film));
  const films = world.films;
  drawChoices("films", films, films.find((one) => one.id === film), (one) => choose(isp, one.id));
  play();
}

async function refresh() {
  const reply = await fetch("/api/world");
  if (!reply.ok) return;
  const fresh = await reply.json();
  if (world) {
    world.boxes = fresh.boxes;
    drawFleet();
    explain();
  } else {
    world = fresh;
    drawFleet();
    const wanted = new URLSearchParams(location.search);
    choose(
      world.isps.find((one) => one.id === wanted.get("isp")) || world.isps[0],
      wanted.get("film") || world.films[0].id,
    );
  }
}

refresh();
setInterval(() => refresh().catch(() => {}), 1000);
