// What Grafana's Prometheus data source does: variables, steps, and answers as data frames.
import { DataFrame, FieldType, getFieldDisplayName, toDataFrame } from '@grafana/data';

export interface Range {
  from: number;
  to: number;
  step: number;
  scrape: number;
}

interface Target {
  expr: string;
  legendFormat: string;
  refId: string;
  instant: boolean;
}

interface Series {
  metric: Record<string, string>;
  values?: Array<[number, string]>;
  value?: [number, string];
}

const FIRST = /\$\{?(cluster|application|deployment|model)\}?/g;

export function substituted(expr: string, variables: Record<string, string>, range: Range): string {
  const rate = Math.max(range.step + range.scrape, 4 * range.scrape);
  return expr
    .replaceAll('$__rate_interval', `${rate}s`)
    .replaceAll('$__interval', `${range.step}s`)
    .replaceAll('$__range', `${range.to - range.from}s`)
    .replace(FIRST, '.*')
    .replace(/\$\{?(\w+)\}?/g, (whole, name) => variables[name] ?? whole);
}

export async function frames(target: Target, variables: Record<string, string>, range: Range): Promise<DataFrame[]> {
  const query = substituted(target.expr, variables, range);
  const parameters = target.instant
    ? { query, time: `${range.to}` }
    : { query, start: `${range.from}`, end: `${range.to}`, step: `${range.step}` };
  const path = target.instant ? 'query' : 'query_range';
  const response = await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== 'success') {
    throw new Error(`${query}: ${answer.error}`);
  }
  const series: Series[] = answer.data.result;
  return target.instant ? [table(series, target)] : series.map((one) => line(one, target, range));
}

// Prometheus leaves out what it does not have; a gap in the line says so.
function line(one: Series, target: Target, range: Range): DataFrame {
  // As Grafana's own panel does: what is no finite number (a quantile of nothing) is a gap.
  const points = (one.values ?? []).map(([at, value]): [number, number] => [at, Number(value)]);
  const known = new Map(points.filter(([, value]) => Number.isFinite(value)));
  const times: number[] = [];
  for (let at = range.from; at <= range.to; at += range.step) {
    times.push(at);
  }
  const name = legend(target, one.metric);
  const frame = toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: times.map((at) => at * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels: one.metric,
        config: { displayNameFromDS: name },
        values: times.map((at) => known.get(at) ?? null),
      },
    ],
  });
  getFieldDisplayName(frame.fields[1], frame);
  return frame;
}

function table(series: Series[], target: Target): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: series.map((one) => one.metric[label] ?? ''),
      })),
      { name: 'Value', type: FieldType.number, values: series.map((one) => Number(one.value?.[1])) },
    ],
  });
}

function legend(target: Target, labels: Record<string, string>): string {
  if (target.legendFormat === '__auto') {
    return Object.values(labels).join(' ') || target.expr;
  }
  return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
}
