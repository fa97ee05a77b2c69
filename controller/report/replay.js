"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const policies = report.policies;
  const sync = uPlot.sync("replay");
  const charts = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const own = (name) => name.startsWith("foreserve");
  const ofPolicy = (i) => "p" + (i % 10);
  // A line that cannot be told apart by its colour can by its dashes.
  const dashes = [[6, 3], null, null, [8, 4], [2, 3], [10, 3, 2, 3], [4, 2], [1, 3], [12, 4], [6, 2, 2, 2]];
  const pad = (n) => String(n).padStart(2, "0");
  const clock = (at) => (at >= 172800 ? Math.floor(at / 86400) + "d " : "") + Math.floor(at >= 172800 ? (at % 86400) / 3600 : at / 3600) + ":" + pad(Math.floor(at / 60) % 60);
  const number = (v) => (v == null ? "–" : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : +v.toPrecision(3) + "");
  const seconds = (v) => (v == null ? "–" : v === 0 ? "0" : v < 1 ? +(v * 1000).toPrecision(3) + " ms" : +v.toPrecision(3) + " s");
  const percent = (v) => (v == null ? "–" : +(v * 100).toFixed(2) + " %");
  const stepped = uPlot.paths.stepped({ align: 1 });
  const line = (label, name, more) => ({
    label, stroke: () => colour(name), width: 1.75, points: { show: false }, value: (_, v) => number(v), ...more,
  });
  const axis = (more) => ({
    stroke: () => colour("dim"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1 },
    font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", ...more,
  });
  const steps = [60, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 172800, 604800];
  const fromZero = (_, min, max) => [0, Math.max((max || 0) * 1.08, 1e-9)];

  function draw(figure, { data, series, unit, height, y, values, bands, x }) {
    const plot = figure.querySelector(".plot");
    if (charts.has(plot)) charts.get(plot).chart.destroy();
    const chart = new uPlot({
      width: plot.clientWidth, height: height || 200, padding: [10, 26, 0, 0],
      cursor: { sync: x ? undefined : { key: sync.key }, drag: { x: true, y: false }, points: { size: 7 } },
      scales: { x: { time: false, ...(x ? {} : { min: 0, max: report.length_s, range: (_, min, max) => [min, max] }) }, y: y || { range: fromZero } },
      axes: [
        axis(x ? { values: (_, splits) => splits.map((at) => at + " s") } : { incrs: steps, space: 70, values: (_, splits) => splits.map(clock) }),
        axis({ label: unit, labelSize: 20, size: 62, values: (_, splits) => splits.map(values || number) }),
      ],
      series: [{ label: x || "Time", value: (_, at) => (at == null ? "–" : x ? at + " s" : clock(at)) }, ...series],
      bands: bands || [],
    }, data, plot);
    charts.set(plot, { chart, height: height || 200 });
    for (const name of plot.querySelectorAll(".u-legend th")) {
      name.tabIndex = 0;
      name.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); name.click(); } };
    }
  }
  const each = (make) => policies.map((p, i) => line(p.name, ofPolicy(i), {
    width: own(p.name) ? 2.75 : 1.5, dash: dashes[i % 10] || undefined, show: p.shown, spanGaps: true, ...make(p, i),
  }));
  const windows = (p) => p.windows.requests.map((_, i) => (i + 1) * p.windows.step_s);
  const middles = (p) => p.windows.requests.map((_, i) => (i + 0.5) * p.windows.step_s);
  const words = (signal) => ({ work: "replicas' worth of work", ongoing_requests: "requests in flight", requests_per_s: "requests/s", prefill_tokens_per_s: "prompt tokens/s", decode_tokens_per_s: "output tokens/s" })[signal] || signal;

  const together = {
    together: (figure) => {
      const tables = policies.map((p) => [p.at, p.at.map((_, i) => p.ready[i] + p.starting[i] + p.stopping[i])]);
      draw(figure, { data: uPlot.join(tables), series: each(() => ({ paths: stepped })), unit: "replicas", height: 300 });
    },
    cost: (figure) => draw(figure, {
      data: [[0, ...windows(policies[0])], ...policies.map((p) => [0, ...p.windows.gpu_hours])], series: each(() => ({})), unit: "GPU-hours", height: 240,
    }),
    arrivals: (figure) => {
      const w = policies[0].windows;
      draw(figure, { data: [middles(policies[0]), w.requests.map((n) => n / w.step_s)], unit: "requests/s", height: 150,
        series: [line("Requests per second", "demand", { fill: () => colour("demand") + "22", paths: uPlot.paths.spline() })] });
    },
    sweep: (figure) => {
      const kept = figure.dataset.column === "slo_attainment";
      const rows = report.sweep[figure.dataset.column];
      const lowest = Math.min(...rows.filter((_, i) => policies[i].shown).flat());
      draw(figure, {
        data: [report.sweep.startup_s, ...rows], unit: figure.dataset.unit, height: 260, x: "Start-up", values: kept ? percent : number,
        y: { range: kept ? () => [Math.max(0, Math.min(lowest, report.attainment_objective) - 0.01), 1.001] : (_, min, max) => [Math.min(0.95, min), max * 1.05] },
        series: each(() => ({ points: { show: true, size: 6, fill: () => colour("card") }, value: (_, v) => (kept ? percent(v) : number(v)) })),
      });
    },
    scatter,
  };

  const one = {
    band: (figure, p) => {
      figure.hidden = !p.expected;
      if (!p.expected) return;
      const e = p.expected;
      figure.querySelector("p").textContent = "In " + words(e.signal) + ". The band is p10 to p90 of the highest demand within the next " + number(e.horizon_s / 60) + " min; thick dashes are what the policy sizes for.";
      draw(figure, {
        data: [p.at, e.p90, e.p10, e.wanted, e.demand], unit: words(e.signal), height: 280, bands: [{ series: [1, 2], fill: () => colour("band") }],
        series: [line("Forecast p90", "band-edge", { width: 1 }), line("Forecast p10", "band-edge", { width: 1 }), line("Sized for", "peak", { dash: [6, 3] }), line("Demand now", "demand", { width: 2 })],
      });
    },
    replicas: (figure, p) => draw(figure, {
      data: [p.at, p.at.map((_, i) => p.ready[i] + p.starting[i]), p.ready, p.target], unit: "replicas", height: 220,
      values: (v) => (Number.isInteger(v) ? v : ""),
      series: [
        line("Ready and starting", "starting", { paths: stepped, width: 1, fill: () => colour("starting") + "55" }),
        line("Ready", "ready", { paths: stepped, width: 1, fill: () => colour("ready") + "45" }),
        line("Wanted", "target", { paths: stepped, dash: [5, 3] }),
      ],
    }),
    ttft: (figure, p) => draw(figure, {
      data: [middles(p), p.windows.ttft_p99_s, p.windows.ttft_p50_s, p.windows.requests.map(() => report.ttft_objective_s)],
      unit: "seconds", height: 230, values: (v) => (v == null ? "" : seconds(v)), y: { distr: 3, range: (_, min, max) => [Math.min(min || 0.01, 0.05), Math.max(max || 1, report.ttft_objective_s * 2)] },
      series: [line("p99", "client", { value: (_, v) => seconds(v) }), line("p50", "demand", { value: (_, v) => seconds(v) }), line("Promised", "limit", { dash: [7, 5], width: 1.5, value: (_, v) => seconds(v) })],
    }),
    queue: (figure, p) => draw(figure, {
      data: [p.at, p.waiting], unit: "requests", height: 150,
      series: [line("Waiting", "limit", { fill: () => colour("limit") + "30" })],
    }),
  };

  function scatter(figure) {
    const plot = figure.querySelector(".plot"), width = plot.clientWidth, height = 300;
    const left = 66, right = 24, top = 14, bottom = 40;
    const kept = policies.map((p) => p.slo_attainment), ratios = policies.map((p) => p.oracle_ratio);
    // Misses on a logarithmic axis: the step from 99 to 99.9 % is worth as much as that from 90 to 99 %.
    const miss = (share) => Math.log10(Math.max(1 - share, 5e-5));
    const lowest = miss(Math.min(...kept, report.attainment_objective, 0.98)) + 0.12, highest = miss(1);
    const most = Math.max(...ratios, 1.3), x = (r) => left + (Math.log(r / 0.96) / Math.log((most * 1.12) / 0.96)) * (width - left - right);
    const y = (share) => top + ((miss(share) - highest) / (lowest - highest)) * (height - top - bottom);
    const parts = [];
    const add = (tag, attributes, text) => parts.push("<" + tag + Object.entries(attributes).map(([k, v]) => ` ${k}="${v}"`).join("") + ">" + (text || "") + "</" + tag + ">");
    for (const share of [0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999].filter((s) => miss(s) <= lowest)) {
      add("line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) });
      add("text", { class: "dimmed", x: left - 8, y: y(share) + 4, "text-anchor": "end" }, +(share * 100).toFixed(2) + " %");
    }
    for (const ratio of [1, 1.1, 1.2, 1.3, 1.5, 2, 3, 4, 5, 7, 10, 15, 20].filter((r) => r <= most * 1.1)) {
      if (ratio > 1 && ratio < 1.5 && most > 3 && ratio !== 1.2) continue;
      add("line", { class: "axis", x1: x(ratio), x2: x(ratio), y1: top, y2: height - bottom });
      add("text", { class: "dimmed", x: x(ratio), y: height - bottom + 18, "text-anchor": "middle" }, ratio + "×");
    }
    add("text", { class: "dimmed", x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "GPU-hours over the oracle's");
    const promise = y(report.attainment_objective);
    add("line", { class: "guide", x1: left, x2: width - right, y1: promise, y2: promise });
    const taken = [];
    const order = policies.map((_, i) => i).sort((a, b) => own(policies[b].name) - own(policies[a].name) || a - b);
    for (const i of order) {
      const p = policies[i], cx = x(p.oracle_ratio), cy = y(p.slo_attainment), reach = 7.2 * p.name.length;
      const flip = cx + reach + 14 > width - right;
      let at = cy + 4;
      const box = () => [flip ? cx - reach - 12 : cx + 8, at - 11, flip ? cx - 8 : cx + reach + 12, at + 3];
      const clash = () => taken.some(([l, t, r, b]) => { const [a, c, d, e] = box(); return a < r && d > l && c < b && e > t; });
      for (let step = 1; clash() && step < 14; step++) at = cy + 4 + (step % 2 ? 1 : -1) * Math.ceil(step / 2) * 13;
      taken.push(box());
      if (Math.abs(at - cy - 4) > 6) add("line", { class: "axis", x1: cx, y1: cy, x2: flip ? cx - 9 : cx + 9, y2: at - 4 });
      add("circle", { cx, cy, r: own(p.name) ? 7 : 5, fill: `var(--${ofPolicy(i)})`, stroke: "var(--card)", "stroke-width": 1.5 }, `<title>${p.name.replace(/[<&]/g, "")}: ${number(p.gpu_hours)} GPU-hours, ${percent(p.slo_attainment)}</title>`);
      add("text", { class: "halo", x: flip ? cx - 11 : cx + 11, y: at, "text-anchor": flip ? "end" : "start", "font-weight": own(p.name) ? 650 : 400 }, p.name.replace(/[<&]/g, ""));
    }
    plot.innerHTML = `<svg width="${width}" height="${height}" role="img" aria-label="Cost against attainment by policy">${parts.join("")}</svg>`;
  }

  const figures = [...document.querySelectorAll("[data-chart]")];
  let chosen = Math.max(0, policies.findIndex((p) => own(p.name)));
  const drawTogether = () => figures.forEach((figure) => together[figure.dataset.chart]?.(figure));
  const drawChosen = () => figures.forEach((figure) => one[figure.dataset.chart]?.(figure, policies[chosen]));
  const picker = document.querySelector(".picker");
  policies.forEach((p, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = p.name;
    button.onclick = () => { chosen = i; press(); drawChosen(); };
    picker.append(button);
  });
  const press = () => [...picker.children].forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
  press();
  drawTogether();
  drawChosen();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    for (const [plot, { chart, height }] of charts) chart.setSize({ width: plot.clientWidth, height });
    figures.filter((figure) => figure.dataset.chart === "scatter").forEach(scatter);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const { chart } of charts.values()) chart.redraw(false); });
})();
