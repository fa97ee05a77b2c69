"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const sync = uPlot.sync("replay");
  const charts = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const palette = ["target", "demand", "limit", "starting", "ready", "peak", "client", "carried", "dim"];
  const pad = (n) => String(n).padStart(2, "0");
  const clock = (at) => Math.floor(at / 3600) + ":" + pad(Math.floor(at / 60) % 60);
  const number = (v) => (v == null ? "-" : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : +v.toPrecision(3));
  const stepped = uPlot.paths.stepped({ align: 1 });
  const line = (label, name, more) => ({
    label, stroke: () => colour(name), width: 1.5, points: { show: false }, spanGaps: true, value: (_, v) => number(v), ...more,
  });
  const axis = (more) => ({
    stroke: () => colour("dim"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1 },
    font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", ...more,
  });
  const hours = [60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

  function draw(figure, data, series, unit, height) {
    const plot = figure.querySelector(".plot");
    const range = (_, min, max) => [0, Math.max((max || 0) * 1.08, 1e-9)];
    const chart = new uPlot({
      width: plot.clientWidth, height, padding: [10, 30, 0, 0],
      cursor: { sync: { key: sync.key }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range }, waiting: { range } },
      axes: [
        axis({ incrs: hours, space: 70, values: (_, splits) => splits.map(clock) }),
        axis({ label: unit, labelSize: 20, size: 58, values: (_, splits) => splits.map(number) }),
        ...(series.some((s) => s.scale) ? [axis({ scale: "waiting", side: 1, label: "requests", labelSize: 20, grid: { show: false } })] : []),
      ],
      series: [{ label: "Time", value: (_, at) => (at == null ? "-" : clock(at)) }, ...series],
    }, data, plot);
    charts.push([chart, plot, height]);
  }
  const column = (policy, name) => policy.samples.map((sample) => sample[name]);

  const kinds = {
    together: (figure) => {
      const tables = report.policies.map((p) => [column(p, "at"), p.samples.map((s) => s.ready + s.starting + s.stopping)]);
      const series = report.policies.map((p, i) => line(p.name, palette[i % palette.length], { paths: stepped }));
      draw(figure, uPlot.join(tables), series, "replicas", 320);
    },
    arrivals: (figure) => {
      const samples = report.policies[0].samples;
      const rates = samples.map((s, i) => (i ? (s.arrived - samples[i - 1].arrived) / (s.at - samples[i - 1].at) : null));
      draw(figure, [samples.map((s) => s.at), rates], [line("Requests per second", "demand")], "requests/s", 170);
    },
    policy: (figure) => {
      const policy = report.policies[+figure.dataset.policy];
      const series = [
        line("Ready", "ready", { paths: stepped, fill: () => colour("ready") + "40" }),
        line("Wanted", "target", { paths: stepped }),
        line("Waiting", "limit", { scale: "waiting", width: 1 }),
      ];
      draw(figure, ["at", "ready", "target", "waiting"].map((name) => column(policy, name)), series, "replicas", 190);
    },
  };
  for (const figure of document.querySelectorAll("[data-chart]")) kinds[figure.dataset.chart](figure);
  addEventListener("resize", () => charts.forEach(([chart, plot, height]) => chart.setSize({ width: plot.clientWidth, height })));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(([chart]) => chart.redraw(false)));
})();
