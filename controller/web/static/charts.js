// One deployment's charts: demand with its forecast, replicas, latencies.
import { clock, number, seconds } from "./words.js";

const KEPT_S = 3600;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Charts {
  constructor(section, ask, open) {
    this.section = section;
    this.ask = ask; // fetch, with the token of this tab
    this.open = open; // called with the tick of a decision that was clicked
    this.charts = [];
    this.range = 900;
    this.signal = null;
    this.asked = 0;
    section.hidden = false;
    for (const button of section.querySelectorAll("[data-range]")) {
      button.addEventListener("click", () => this.show(+button.dataset.range));
    }
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(section);
  }

  // Reads everything anew: another deployment, another signal, or too much was missed.
  async load() {
    this.deployment = this.section.dataset.deployment;
    const found = await this.fetch({});
    if (!found) return;
    this.data = { at: found.at, ...found.columns };
    this.changes = found.changes;
    this.meta = found;
    this.choices(found);
    this.build();
  }

  // Reads what is new since.
  async follow() {
    if (this.section.dataset.deployment !== this.deployment || !this.data) return this.load();
    const found = await this.fetch({ after: this.data.at.at(-1) ?? 0 });
    if (!found) return;
    if (found.signal !== this.meta.signal || found.signals.length !== this.meta.signals.length) return this.load();
    for (const [name, values] of Object.entries({ at: found.at, ...found.columns })) this.data[name].push(...values);
    this.changes.push(...found.changes);
    const old = this.data.at.findIndex((at) => at > this.data.at.at(-1) - KEPT_S);
    if (old > 0) for (const values of Object.values(this.data)) values.splice(0, old);
    this.meta = found;
    this.draw();
  }

  async fetch(more) {
    const asked = ++this.asked;
    const query = new URLSearchParams({ deployment: this.deployment, ...(this.signal && { signal: this.signal }), ...more });
    const answer = await this.ask(`/api/v1/history?${query}`);
    if (!answer.ok) return null;
    const found = await answer.json();
    return asked === this.asked ? found : null; // a newer question was asked meanwhile
  }

  close() {
    this.resized.disconnect();
    this.clear();
  }

  clear() {
    for (const { chart } of this.charts) chart.destroy();
    this.charts = [];
  }

  show(range) {
    this.range = range;
    for (const button of this.section.querySelectorAll("[data-range]")) {
      button.setAttribute("aria-pressed", String(+button.dataset.range === range));
    }
    this.draw();
  }

  choices({ signals, signal }) {
    const box = this.section.querySelector("#signals");
    const buttons = signals.map(({ id, name }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.setAttribute("aria-pressed", String(id === signal));
      button.addEventListener("click", () => {
        this.signal = id;
        this.load();
      });
      return button;
    });
    box.replaceChildren(...(buttons.length > 1 ? buttons : []));
  }

  resize() {
    for (const { chart, plot, height } of this.charts) {
      if (plot.clientWidth && plot.clientWidth !== chart.width) chart.setSize({ width: plot.clientWidth, height });
    }
  }

  redraw() {
    for (const { chart } of this.charts) chart.redraw(false);
  }

  build() {
    this.clear();
    const { objectives, unit } = this.meta;
    this.add("demand", 260, unit, number, [
      line("Carried by those ready", "carried", { paths: stepped, ...dashed }),
      line("Forecast p90", "band-edge", { width: 1 }),
      line("p50", "band-edge", { width: 1 }),
      line("Highest that came", "peak", { dash: [2, 4] }),
      line("Demand", "demand", { width: 2.25 }),
    ], () => {
      const { p50, p90, peak } = this.due;
      return [pad(this.carried, this.future), p90, p50, peak, pad(this.data.demand, this.future)];
    }, { bands: [{ series: [2, 3], fill: () => colour("band") }] });
    this.add("replicas", 180, "replicas", (v) => (Number.isInteger(v) ? String(v) : ""), [
      line("Ready and starting", "starting", { paths: stepped, width: 1 }),
      line("Ready", "ready", { paths: stepped, width: 1, fill: () => colour("ready-fill") }),
      line("Target", "target", { paths: stepped }),
      line("Decision", "accent", { paths: () => null, points: { show: true, size: 9, fill: () => colour("accent") } }),
    ], () => [this.held, this.data.ready, this.data.target, this.marks].map((values) => pad(values, this.future)),
    { bands: [{ series: [1, 2], fill: () => colour("starting-fill") }] });
    for (const name of ["ttft", "itl"]) {
      const limit = objectives?.[name];
      this.add(name, 150, "", seconds, [
        line("Objective", "limit", { ...dashed, value: () => (limit == null ? "–" : seconds(limit)) }),
        line("p95", "demand", { value: (_, v) => seconds(v), spanGaps: true }),
      ], () => [this.x.map(() => limit ?? null), pad(this.data[name], this.future)]);
    }
    const replicas = this.charts[1].chart;
    replicas.over.addEventListener("click", () => {
      const change = this.near(replicas);
      if (change) this.open(change.tick);
    });
    this.draw();
  }

  add(name, height, unit, value, series, columns, more = {}) {
    const plot = this.section.querySelector(`#plot-${name}`);
    const options = {
      width: plot.clientWidth || 600, height, padding: [8, 16, 0, 0], ...more,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { sync: { key: "page" }, points: { size: 6 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: () => this.shown() },
        y: { range: (_, __, max) => [0, Math.max(1.08 * (max ?? 0), 1e-9)] },
      },
      axes: [
        axis({ space: 80, values: (_, splits, __, ___, step) => splits.map((at) => clock(at).slice(0, step < 60 ? 8 : 5)) }),
        axis({ size: 62, values: (_, splits) => splits.map((v) => (v === 0 ? "0" : value(v))), ...(unit && { label: unit, labelSize: 18 }) }),
      ],
      series: [{ label: "Time", value: (_, at) => (at == null ? "–" : clock(at)) }, ...series],
      hooks: { draw: [(chart) => this.mark(chart)] },
    };
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `Chart over time: ${series.map(({ label }) => label).join(", ")}`);
    this.charts.push({ chart: new uPlot(options, [[]], plot), plot, height, columns });
  }

  draw() {
    if (!this.data || !this.charts.length) return;
    this.derive();
    for (const { chart, columns } of this.charts) {
      chart.setData([this.x, ...columns()], true);
      if (!(chart.cursor.left >= 0)) chart.setLegend({ idx: this.data.at.length - 1 }); // the newest, until one is pointed at
    }
  }

  shown() {
    const { at, horizon } = this.data;
    const now = at.at(-1) ?? 0;
    const from = Math.max(now - this.range, Math.min(at[0] ?? now, now - 120)); // no room for what is not known
    return [from, now + Math.min(0.25 * this.range, 1.05 * (horizon.at(-1) ?? 0))];
  }

  // What is drawn from what was read: forecasts stand where their time is up, and what came beside them.
  derive() {
    const { at, demand, p50, p90, horizon, each, ready, starting, target } = this.data;
    const last = at.at(-1);
    const due = { p50: at.map(() => null), p90: at.map(() => null), peak: at.map(() => null) };
    this.future = [];
    let place = 0;
    for (let made = 0; made < at.length; made++) {
      if (p50[made] == null) continue;
      const when = at[made] + horizon[made];
      if (when > last) {
        while (this.future.length && this.future.at(-1) >= when) this.pop(due);
        this.future.push(when);
        due.p50.push(p50[made]);
        due.p90.push(p90[made]);
        due.peak.push(null);
        continue;
      }
      while (place > 0 && at[place - 1] >= when) place--;
      while (at[place] < when) place++;
      due.p50[place] = p50[made];
      due.p90[place] = p90[made];
      due.peak[place] = highest(demand, made, place, at, when);
    }
    filled(due.p50, at.length);
    filled(due.p90, at.length);
    filled(due.peak, at.length);
    this.x = [...at, ...this.future];
    this.due = due;
    this.carried = each.map((one, i) => (one == null || ready[i] == null ? null : one * ready[i]));
    this.held = ready.map((one, i) => (one == null || starting[i] == null ? null : one + starting[i]));
    this.marks = at.map(() => null);
    let i = 0;
    for (const change of this.changes) {
      while (i < at.length - 1 && at[i] < change.at - 0.01) i++;
      if (Math.abs(at[i] - change.at) < 1) this.marks[i] = change.after ?? target[i];
    }
  }

  pop(due) {
    this.future.pop();
    for (const values of Object.values(due)) values.pop();
  }

  near(chart) {
    const reach = 10;
    const away = (change) => Math.abs(chart.valToPos(change.at, "x") - chart.cursor.left);
    return this.changes.filter((change) => away(change) <= reach).sort((a, b) => away(a) - away(b))[0];
  }

  mark(chart) {
    const now = this.data?.at.at(-1);
    if (now == null) return;
    const { ctx, bbox } = chart;
    const x = chart.valToPos(now, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width - 2) return;
    ctx.save();
    ctx.strokeStyle = colour("dim");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }
}

const stepped = (...given) => uPlot.paths.stepped({ align: 1 })(...given);
const dashed = { dash: [7, 5], width: 1.5 };
const pad = (values, future) => (future.length ? [...values, ...future.map(() => null)] : values);

const line = (label, name, more) => ({
  label, stroke: () => colour(name), width: 2, points: { show: false }, value: (_, v) => number(v), ...more,
});

const axis = (more) => ({
  stroke: () => colour("dim"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1 },
  font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", ...more,
});

// The highest demand of the time a forecast was for; unknown when any of it is.
function highest(demand, from, to, at, until) {
  let most = null;
  for (let i = from; i <= to && at[i] <= until; i++) {
    if (demand[i] == null) return null;
    most = Math.max(most ?? demand[i], demand[i]);
  }
  return most;
}

// Ticks are not evenly spaced: where no forecast was due between two that were, the line goes on.
function filled(values, count) {
  for (let i = 0; i < count; i++) if (values[i] == null && i > 0 && values[i - 1] != null && values[i + 1] != null) values[i] = values[i - 1];
}
