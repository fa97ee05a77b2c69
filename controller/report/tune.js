"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const plot = document.querySelector(".plot"), trials = report.trials, height = 420;
  const left = 66, right = 24, top = 16, bottom = 42;
  const clean = (text) => String(text).replace(/[&<>"]/g, (c) => "&#" + c.charCodeAt(0) + ";");
  // Misses on a logarithmic axis: the step from 99 to 99.9 % is worth as much as that from 90 to 99 %.
  const miss = (share) => Math.log10(Math.max(1 - share, 5e-5));
  const percent = (v) => +(v * 100).toFixed(2) + " %";
  function draw() {
    const width = plot.clientWidth, hours = trials.map((t) => t.gpu_hours), kept = trials.map((t) => t.attainment);
    const span = Math.max(...hours) - Math.min(...hours) || 1, low = Math.min(...hours) - span * 0.06, high = Math.max(...hours) + span * 0.06;
    const worst = miss(Math.min(...kept, report.objective, 0.99)) + 0.1, best = miss(Math.max(...kept, report.objective)) - 0.15;
    const x = (h) => left + ((h - low) / (high - low)) * (width - left - right);
    const y = (share) => top + ((miss(share) - best) / (worst - best)) * (height - top - bottom);
    const parts = [];
    const add = (tag, attributes, text) => parts.push("<" + tag + Object.entries(attributes).map(([k, v]) => ` ${k}="${v}"`).join("") + ">" + (text || "") + "</" + tag + ">");
    for (const share of [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999].filter((s) => miss(s) <= worst && miss(s) >= best)) {
      add("line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) });
      add("text", { class: "dimmed", x: left - 8, y: y(share) + 4, "text-anchor": "end" }, percent(share));
    }
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000].find((s) => (high - low) / s <= 10) || 1e4;
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
      add("line", { class: "axis", x1: x(at), x2: x(at), y1: top, y2: height - bottom });
      add("text", { class: "dimmed", x: x(at), y: height - bottom + 18, "text-anchor": "middle" }, +at.toPrecision(4));
    }
    add("text", { class: "dimmed", x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "GPU-hours");
    add("line", { class: "guide", x1: left, x2: width - right, y1: y(report.objective), y2: y(report.objective) });
    const front = trials.filter((t) => t.front).sort((a, b) => a.gpu_hours - b.gpu_hours);
    const corners = front.flatMap((t, i) => (i ? [[t.gpu_hours, front[i - 1].attainment], [t.gpu_hours, t.attainment]] : [[t.gpu_hours, t.attainment]]));
    add("polyline", { points: corners.map(([h, a]) => x(h) + "," + y(a)).join(" "), fill: "none", stroke: "var(--p1)", "stroke-width": 1.5 });
    const order = [...trials].sort((a, b) => a.front - b.front || (a.number === 0) - (b.number === 0));
    for (const t of order) {
      const base = t.number === 0, cx = x(t.gpu_hours), cy = y(t.attainment);
      const said = (base ? "base policy" : "trial " + t.number) + ": " + t.gpu_hours.toFixed(2) + " GPU-hours, " + percent(t.attainment) + Object.entries(t.values).map(([k, v]) => "\n" + k + ": " + v).join("");
      const look = base ? { fill: "var(--p2)", r: 7 } : t.front ? { fill: "var(--p1)", r: 5.5 } : { fill: "var(--p8)", r: 4, "fill-opacity": 0.55 };
      add("circle", { cx, cy, ...look, stroke: "var(--card)", "stroke-width": 1.5 }, "<title>" + clean(said) + "</title>");
      if (base || t.file) add("text", { class: "halo", x: cx + 10, y: cy + (base ? 16 : -8), "font-weight": base ? 650 : 400 }, base ? "base" : clean(t.file.replace(".yaml", "")));
    }
    plot.innerHTML = `<svg width="${width}" height="${height}" role="img" aria-label="GPU-hours against attainment of every candidate">${parts.join("")}</svg>`;
  }
  draw();
  addEventListener("resize", draw);
})();
