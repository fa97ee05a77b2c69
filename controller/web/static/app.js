// Follows the controller, moves between pages without loading them, and listens to keys.
import { Charts } from "./charts.js";
import { finish, morph, parse } from "./morph.js";
import { span, tell } from "./words.js";

const $ = (id) => document.getElementById(id);
const here = () => location.pathname + location.search;
const seen = { tick: 0, at: 0, skew: 0, connected: false, lost: 0 };
let charts = null;
let wanted = 0; // the newest page asked for; older answers are dropped

const now = () => Date.now() / 1000 - seen.skew;

// Tokens: kept in this tab, sent in a header, never in an address.

function token() {
  try {
    return sessionStorage.getItem("foreserve-token");
  } catch {
    return null;
  }
}

function ask(url, { headers, ...options } = {}) {
  const given = token();
  return fetch(url, { ...options, headers: { ...headers, ...(given && { Authorization: `Bearer ${given}` }) } });
}

// Shows the dialog; true when a token was given.
function enter(why) {
  const dialog = $("token");
  if (why) $("token-why").textContent = why;
  $("token-text").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const text = $("token-text").value.trim();
      const chosen = dialog.returnValue;
      if (chosen === "use" && text) sessionStorage.setItem("foreserve-token", text);
      if (chosen === "forget") sessionStorage.removeItem("foreserve-token");
      $("token-text").value = "";
      done(chosen === "use" && Boolean(text));
    }, { once: true });
  });
}

async function unlock(why) {
  if (!(await enter(why))) return;
  await go(here(), { push: false });
  charts?.load();
}

async function answer(button) {
  const { answer: word, proposal } = button.dataset;
  if (!token() && !(await enter())) return;
  const buttons = button.parentElement.querySelectorAll("button");
  for (const one of buttons) one.disabled = true;
  const said = await ask(`/api/v1/approvals/${encodeURIComponent(proposal)}/${word}`, { method: "POST" });
  for (const one of buttons) one.disabled = false;
  if (said.status === 401 || said.status === 403) return unlock((await said.json()).detail);
  if (!said.ok) notify((await said.json()).detail);
  await refresh();
}

function notify(text) {
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  notice.textContent = text;
  $("main").prepend(notice);
}

// Pages

async function read(url, { whole, ...options } = {}) {
  const asked = ++wanted;
  const answer = await ask(url, options);
  const type = answer.headers.get("content-type") ?? "";
  if (!type.startsWith("text/html")) throw new Error((await answer.json()).detail ?? answer.statusText);
  const text = await answer.text();
  if (asked !== wanted) return false;
  const page = parse(text);
  document.title = page.title;
  morph(document.querySelector("header nav"), page.querySelector("header nav"));
  state(page.getElementById("state"));
  const later = [];
  if (whole) $("main").replaceChildren(...page.getElementById("main").childNodes);
  else morph($("main"), page.getElementById("main"), later);
  arrange();
  await finish(later, () => asked === wanted);
  return asked === wanted;
}

// Takes over what the header says; the words for the connection are written here.
function state(found) {
  const old = $("state");
  for (const name of ["tick", "at", "late"]) old.dataset[name] = found.dataset[name];
  const tick = found.querySelector("#tick");
  if (!tick) return;
  if ($("tick")) morph($("tick"), tick);
  else old.append(...found.querySelectorAll("#tick, .mode"));
}

// Where somebody goes comes before the next tick, which would otherwise take the page back to where they were.
let going = 0;
let missed = false;

async function go(url, { push = true } = {}) {
  going++;
  try {
    if (!(await read(url, { whole: true }))) return;
    if (push) history.pushState(null, "", url);
    scrollTo(0, 0);
    $("main").focus({ preventScroll: true });
    charts?.follow();
  } catch {
    location.assign(url); // the browser's own way shows what is wrong
  } finally {
    if (!--going && missed) {
      missed = false;
      refresh();
    }
  }
}

function arrange() {
  const section = $("charts");
  if (charts && charts.section !== section) {
    charts.close();
    charts = null;
  }
  if (section && !charts) {
    charts = new Charts(section, ask, (tick) => go(`/?${new URLSearchParams({ deployment: section.dataset.deployment, tick })}`));
    charts.load();
  }
  for (const tool of document.querySelectorAll(".filter, [data-choice], [data-answers], [data-ask]")) tool.hidden = false;
  sift();
  say();
}

// New ticks

let refreshing = false;
let again = false;

const lives = () => {
  const asked = new URLSearchParams(location.search);
  return !asked.has("tick") && asked.get("view") !== "what-if";
};

async function refresh() {
  if (going) {
    missed = true;
    return;
  }
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    do {
      if (going) {
        missed = true;
        break;
      }
      again = false;
      if (lives()) await read(here());
      await charts?.follow();
    } while (again && !document.hidden);
  } catch {
    // The stream says whether the controller is there; the next tick tries again.
  } finally {
    refreshing = false;
  }
}

// Server-sent events, read by hand: a browser's own EventSource cannot send a token.
async function connect() {
  for (;;) {
    try {
      const last = seen.tick ? { "Last-Event-ID": String(seen.tick) } : {};
      const answer = await ask("/api/v1/stream", { headers: last, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      seen.connected = true;
      say();
      await listen(answer.body.getReader());
    } catch {
      // Said below, and tried again.
    }
    if (seen.connected || !seen.lost) seen.lost = Date.now() / 1000;
    seen.connected = false;
    say();
    await new Promise((wait) => setTimeout(wait, 2000));
  }
}

// More than twice the time between two heartbeats: whoever is silent for so long is gone.
const SILENCE_MS = 40000;

async function listen(reader) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    let timer;
    const silence = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error("silent")), SILENCE_MS);
    });
    const { value, done } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
    if (done) return;
    const events = (text + decoder.decode(value, { stream: true })).split("\n\n");
    text = events.pop();
    events.forEach(take);
  }
}

function take(event) {
  const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s, 2)));
  if (fields.event === "reset") {
    seen.tick = 0;
    charts?.load();
  } else if (fields.event === "tick") {
    const { tick, at } = JSON.parse(fields.data);
    if (seen.tick && tick > seen.tick) seen.skew = Date.now() / 1000 - at; // it has just been made
    Object.assign(seen, { tick, at });
    Object.assign($("state").dataset, { tick, at });
    if (!document.hidden) refresh();
  }
}

function say() {
  const { at, late } = $("state").dataset;
  const age = Math.max(0, now() - at);
  const link = $("link");
  const stale = +at > 0 && age > +late;
  // How long is written apart: a screen reader need not hear every second.
  const [text, mood, long] = !seen.connected
    ? seen.lost ? ["Disconnected", "bad", `${span(Date.now() / 1000 - seen.lost)} · trying again`] : ["Connecting", "dim", ""]
    : stale ? ["No tick for", "bad", span(age)] : ["Live", "ok", ""];
  if (link.textContent !== text) link.textContent = text;
  if ($("long").textContent !== long) $("long").textContent = long;
  link.className = `link ${mood}`;
  document.body.classList.toggle("old", mood === "bad");
  tell(document, now());
}

// Filter

function sift() {
  const filter = $("filter");
  if (!filter) return;
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("#fleet tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}

function choose(button) {
  document.body.dataset.decisions = button.dataset.show;
  for (const one of button.parentElement.children) one.setAttribute("aria-pressed", String(one === button));
}

// What if

async function plan(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await read("/what-if", { method: "POST", headers: { "Content-Type": "text/plain" }, body: $("policy").value });
    $("answer").scrollIntoView({ behavior: "smooth", block: "nearest" });
  } catch (error) {
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    notice.textContent = error.message;
    $("answer").replaceChildren(notice);
  } finally {
    button.disabled = false;
  }
}

// Theme

function turn() {
  const dark = getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("foreserve-theme", document.documentElement.dataset.theme);
  } catch {
    // Storage is switched off: it lasts until the page is left.
  }
  charts?.redraw();
}

// Keys

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")].filter((row) => row.getClientRects().length);
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  row?.querySelector("a")?.focus();
}

const keys = {
  w: () => $("why")?.click() ?? document.querySelector("#decisions tr.acted a")?.click(),
  j: () => step(1),
  k: () => step(-1),
  u: () => $("up")?.click(),
  Escape: () => $("up")?.click(),
  "/": () => $("filter")?.focus(),
  1: () => charts?.show(300),
  2: () => charts?.show(900),
  3: () => charts?.show(3600),
  t: turn,
  "?": () => $("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "policy") return plan(event.target.form);
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = keys[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

document.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-choice] button");
  if (choice) return choose(choice);
  const word = event.target.closest("[data-answer]");
  if (word) return answer(word);
  if (event.target.closest("[data-ask]")) return unlock();
  const row = event.target.closest("tr[data-row]");
  const link = event.target.closest("a[href]") ?? (row && !getSelection().toString() ? row.querySelector("a[href]") : null);
  if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.origin !== location.origin || "plain" in link.dataset || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
});

document.addEventListener("submit", (event) => {
  if (event.target.id !== "what-if") return;
  event.preventDefault();
  plan(event.target);
});

document.addEventListener("input", (event) => {
  if (event.target.id === "filter") sift();
});

addEventListener("popstate", () => go(here(), { push: false }));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts?.redraw());

for (const [id, act] of [["key", () => unlock()], ["theme", turn], ["help", keys["?"]]]) {
  $(id).hidden = false;
  $(id).addEventListener("click", act);
}
document.body.classList.add("js");
arrange();
connect();
setInterval(say, 1000);
