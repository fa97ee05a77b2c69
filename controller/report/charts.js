"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const start = report.started_at;
  const sync = uPlot.sync("run");
  const charts = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  const pad = (n) => String(n).padStart(2, "0");
  const sinceStart = (at) => {
    const s = Math.round(at - start), sign = s < 0 ? "-" : "+", a = Math.abs(s);
    const h = Math.floor(a / 3600), m = Math.floor(a / 60) % 60;
    return sign + (h ? h + ":" + pad(m) : m) + ":" + pad(a % 60);
  };
  const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);
  const number = (v) => (v == null ? "-" : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : +v.toPrecision(3));
  const short = (v) => (v === 0 ? "0" : v < 1 ? +(v * 1000).toPrecision(3) + " ms" : +v.toPrecision(3) + " s");
  const seconds = (v) => (v == null ? "-" : short(v));

  const line = (label, name, more) => ({
    label, stroke: () => colour(name), width: 2, points: { show: false }, value: (_, v) => number(v), ...more,
  });
  const stepped = uPlot.paths.stepped({ align: 1 });
  const dotted = { dash: [2, 4] };
  const dashed = { dash: [7, 5], width: 1.5 };

  const axis = (more) => ({
    stroke: () => colour("dim"), grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { stroke: () => colour("grid"), width: 1 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", ...more,
  });
  // Minutes from the start below the time of day, so that both can be read off without a cursor.
  const timeAxis = axis({
    space: 90, size: 46,
    splits: (u, _, min, max) => {
      const steps = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800];
      const most = Math.max(2, u.bbox.width / devicePixelRatio / 90);
      const step = steps.find((s) => (max - min) / s <= most) || steps[steps.length - 1];
      const splits = [];
      for (let at = start + Math.ceil((min - start) / step) * step; at <= max; at += step) splits.push(at);
      return splits;
    },
    values: (_, splits) => splits.map((at) => sinceStart(at) + "\n" + clock(at)),
  });

  function draw(figure, { series, data, unit, height, bands, hooks, value }) {
    const plot = figure.querySelector(".plot");
    const options = {
      width: plot.clientWidth, height: height || 220, padding: [10, 30, 0, 0], tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { sync: { key: sync.key }, points: { size: 7 }, drag: { x: true, y: false } },
      scales: {
        x: { time: true, min: report.started_at, max: report.ended_at, range: (_, min, max) => [min, max] },
        y: { range: (_, min, max) => [0, Math.max(max == null ? 0 : max * 1.08, 1e-9)] },
      },
      axes: [timeAxis, axis({ label: unit, labelSize: 20, size: 58, values: (_, splits) => splits.map(value || number) })],
      series: [{ label: "Time", value: (_, at) => (at == null ? "-" : sinceStart(at) + "  " + clock(at)) }, ...series],
      bands: bands || [], hooks: hooks || {}, legend: { live: true },
    };
    const chart = new uPlot(options, data, plot);
    charts.push([chart, plot, options.height]);
    return chart;
  }

  // uPlot wants one time axis per chart: series with their own times are joined, gaps left empty stay empty.
  const join = (...tables) => uPlot.join(tables, tables.map((t) => t.slice(1).map(() => 1)));
  const constant = (at, value) => (at.length ? [[report.started_at, report.ended_at], [value, value]] : [[], []]);

  function demand(figure, deployment) {
    const signal = deployment.signals[+figure.dataset.signal];
    const foreseen = signal.method !== "";
    draw(figure, {
      unit: { requests_per_s: "requests/s", prefill_tokens_per_s: "tokens/s", decode_tokens_per_s: "tokens/s", work: "full replicas" }[signal.signal] || "requests",
      height: 270,
      data: [deployment.at, signal.carried, ...(foreseen ? [signal.due_p90, signal.due_p50, signal.peak] : []), signal.demand],
      series: [
        line("Carried by ready replicas", "carried", { paths: stepped, ...dashed }),
        ...(foreseen
          ? [
              line("Forecast p90", "band-edge", { width: 1 }),
              line("Forecast p50", "band-edge", { width: 1 }),
              line("Highest that came", "peak", dotted),
            ]
          : []),
        line("Demand now", "demand", { width: 2.5 }),
      ],
      bands: foreseen ? [{ series: [2, 3], fill: () => colour("band") }] : [],
    });
  }

  function replicas(figure, deployment) {
    const reason = figure.querySelector(".reason");
    const decisions = deployment.decisions;
    const marks = deployment.at.map((at) => {
      const decision = decisions.find((d) => d.at === at);
      return decision && decision.after != null ? decision.after : null;
    });
    const show = (at) => {
      const decision = decisions.find((d) => d.at === at);
      if (!decision) return;
      const what = (decision.before ?? "?") + " → " + decision.after;
      reason.textContent = sinceStart(at) + "  " + what + ", " + decision.reason.replaceAll("_", " ") + ": " + decision.sentence;
      reason.hidden = false;
    };
    const near = (u) => {
      const at = u.posToVal(u.cursor.left, "x"), reach = (u.scales.x.max - u.scales.x.min) / 60;
      const found = decisions.filter((d) => Math.abs(d.at - at) <= reach);
      return found.sort((a, b) => Math.abs(a.at - at) - Math.abs(b.at - at))[0];
    };
    const held = deployment.ready.map((r, i) => (r == null || deployment.starting[i] == null ? null : r + deployment.starting[i]));
    const whole = (v) => (Number.isInteger(v) ? v : "");
    const chart = draw(figure, {
      unit: "replicas", height: 190, value: whole,
      data: [deployment.at, held, deployment.ready, deployment.target, marks],
      series: [
        line("Ready and starting", "starting", { paths: stepped, width: 1, fill: () => colour("starting") + "38" }),
        line("Ready", "ready", { paths: stepped, width: 1, fill: () => colour("ready") + "40" }),
        line("Target", "target", { paths: stepped }),
        line("Decision", "accent", { paths: () => null, points: { show: true, size: 10, fill: () => colour("accent") } }),
      ],
      hooks: { setCursor: [(u) => { if (u.cursor.left >= 0) { const d = near(u); if (d) show(d.at); } }] },
    });
    chart.over.addEventListener("click", () => { const d = near(chart); if (d) show(d.at); });
    if (decisions.length) show(decisions[0].at);
  }

  function latency(figure, deployment, server, client, objective) {
    const traffic = report.traffic && report.traffic.series;
    const tables = [[deployment.at, server]];
    const series = [line("Server", "demand", { spanGaps: true, value: (_, v) => seconds(v) })];
    if (traffic) {
      tables.push([traffic.at, traffic[client]]);
      series.push(line("Client", "client", { spanGaps: true, width: 1.5, value: (_, v) => seconds(v) }));
    }
    if (deployment.terms) {
      tables.push(constant(deployment.at, deployment.terms[objective]));
      series.push(line("Objective", "limit", { ...dashed, spanGaps: true, value: () => seconds(deployment.terms[objective]) }));
    }
    draw(figure, { unit: "seconds", data: join(...tables), series, value: (v) => number(v) });
  }

  function errors(figure, deployment) {
    const traffic = report.traffic && report.traffic.series;
    const tables = [[deployment.at, deployment.errors_per_s, deployment.shed_per_s]];
    const series = [line("Server errors", "limit", { spanGaps: true }), line("Shed by the server", "starting", { spanGaps: true })];
    if (traffic) {
      tables.push([traffic.at, traffic.failed.map((n) => n / traffic.bin_s)]);
      series.push(line("Failed at the client", "client", { spanGaps: true, width: 1.5 }));
    }
    draw(figure, { unit: "per second", height: 150, data: join(...tables), series });
  }

  const kinds = {
    demand, replicas, errors,
    ttft: (figure, d) => latency(figure, d, d.ttft_p95_s, "ttft_p95_s", "ttft_s"),
    itl: (figure, d) => latency(figure, d, d.itl_p95_s, "itl_p95_s", "itl_s"),
  };
  for (const section of document.querySelectorAll("[data-deployment]")) {
    const deployment = report.deployments[+section.dataset.deployment];
    for (const figure of section.querySelectorAll("[data-chart]")) kinds[figure.dataset.chart](figure, deployment);
  }
  const resize = () => charts.forEach(([chart, plot, height]) => chart.setSize({ width: plot.clientWidth, height }));
  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(([chart]) => chart.redraw(false)));
})();
