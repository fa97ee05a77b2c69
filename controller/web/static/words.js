// Numbers and times as the server writes them.
const pad = (n) => String(n).padStart(2, "0");

export const number = (v) =>
  v == null ? "–" : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3));

export const seconds = (v) =>
  v == null ? "–" : v === 0 ? "0" : v < 1 ? `${+(1000 * v).toPrecision(3)} ms` : `${+v.toPrecision(3)} s`;

export const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);

export function span(s) {
  const a = Math.abs(Math.round(s));
  if (a < 120) return `${a} s`;
  if (a < 7200) return a < 600 ? `${Math.floor(a / 60)} min ${pad(a % 60)} s` : `${Math.round(a / 60)} min`;
  return a < 172800 ? `${(a / 3600).toFixed(1)} h` : `${(a / 86400).toFixed(1)} d`;
}

// Times on the page follow the clock; the server's own text stays as the title.
export function tell(root, now) {
  for (const node of root.querySelectorAll("time[data-since]")) {
    write(node, `${span(Math.max(0, now - node.dataset.since))} ago`, `${clock(+node.dataset.since)} UTC`);
  }
  for (const node of root.querySelectorAll("time[data-until]")) {
    const left = node.dataset.until - now;
    write(node, left >= 0 ? `in ${span(left)}` : `${span(left)} late`, `${clock(+node.dataset.until)} UTC`);
    node.classList.toggle("over", left < 0);
  }
}

function write(node, text, title) {
  if (node.textContent !== text) node.textContent = text;
  if (node.title !== title) node.title = title;
}
