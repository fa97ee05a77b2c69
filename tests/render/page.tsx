// One dashboard, drawn with Grafana's own components; panel plugins, variables and transformations are not theirs.
import {
  applyFieldOverrides, createTheme, DataFrame, dateTime, EventBusSrv, FieldConfigOptionsRegistry, FieldType,
  getDisplayProcessor, getFieldDisplayName, reduceField, ThemeContext, TimeRange, VizOrientation,
} from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { BarGauge, BigValue, BigValueColorMode, BigValueGraphMode, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { createRoot } from 'react-dom/client';
import { frames, Range } from './queries';

const theme = createTheme({ colors: { mode: 'light' } });
const CELL = 34;
const ROW_TITLE = 34;

const STANDARD = ['displayName', 'unit', 'min', 'max', 'decimals', 'noValue', 'thresholds', 'mappings', 'color', 'links'];
const CUSTOM = [
  'drawStyle', 'lineInterpolation', 'barAlignment', 'lineWidth', 'lineStyle', 'fillOpacity', 'fillBelowTo', 'gradientMode',
  'spanNulls', 'showPoints', 'pointSize', 'stacking', 'axisPlacement', 'axisLabel', 'axisSoftMin', 'axisSoftMax',
  'scaleDistribution', 'thresholdsStyle', 'hideFrom', 'align', 'filterable', 'cellOptions',
];

const registry = new FieldConfigOptionsRegistry(() =>
  [...STANDARD.map((path) => ({ path, isCustom: false })), ...CUSTOM.map((path) => ({ path, isCustom: true }))].map((item) => ({
    ...item,
    id: item.isCustom ? `custom.${item.path}` : item.path,
    name: item.path,
    settings: {},
    editor: () => null,
    override: () => null,
    process: (value: unknown) => value,
    shouldApply: () => true,
  })) as never
);

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: never[];
  fieldConfig: { defaults: Record<string, unknown>; overrides: never[] };
  options: Record<string, never>;
  transformations?: Array<{ options: { excludeByName: Record<string, boolean> } }>;
  panels?: Panel[];
  collapsed?: boolean;
}

interface Given {
  board: { title: string; panels: Panel[]; templating: { list: Array<{ name: string; query: string }> } };
  range: Range;
  variables: Record<string, string>;
  width: number;
}

async function data(panel: Panel, given: Given): Promise<DataFrame[]> {
  const raw = (await Promise.all(panel.targets.map((target) => frames(target, given.variables, given.range)))).flat();
  const config = structuredClone(panel.fieldConfig) as Panel['fieldConfig'];
  for (const step of (config.defaults.thresholds as { steps: Array<{ value: number | null }> }).steps) {
    step.value ??= -Infinity;
  }
  return applyFieldOverrides({
    data: raw,
    fieldConfig: config as never,
    replaceVariables: (text: string) => text,
    theme,
    timeZone: 'utc',
    fieldConfigRegistry: registry,
  });
}

// Bars of one panel share a scale, from its limits or from what they show.
function withScale(all: DataFrame[]): DataFrame[] {
  const numbers = all.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number));
  const last = numbers.map((field) => Number(reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull ?? 0));
  for (const field of numbers) {
    field.config.min ??= Math.min(0, ...last);
    field.config.max ??= Math.max(...last);
    field.display = getDisplayProcessor({ field, theme });
  }
  return all;
}

function values(all: DataFrame[]) {
  return all.flatMap((frame) =>
    frame.fields
      .filter((field) => field.type === FieldType.number)
      .map((field) => {
        const display = field.display ?? getDisplayProcessor({ field, theme });
        const last = reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull;
        return { field, display, value: { ...display(last), title: getFieldDisplayName(field, frame, all) } };
      })
  );
}

function Numbers({ panel, all, width, height }: { panel: Panel; all: DataFrame[]; width: number; height: number }) {
  const shown = values(panel.type === 'bargauge' ? withScale(all) : all).slice(0, 12);
  if (shown.length === 0) {
    return <div style={{ textAlign: 'center', paddingTop: height / 3, color: theme.colors.text.secondary }}>no data</div>;
  }
  const each = { width: Math.floor(width / shown.length), height };
  return (
    <div style={{ display: 'flex', flexDirection: panel.type === 'bargauge' ? 'column' : 'row' }}>
      {shown.map(({ field, display, value }, index) =>
        panel.type === 'bargauge' ? (
          <BarGauge key={index} width={width} height={Math.floor(height / shown.length)} field={field.config} display={display}
            value={value} orientation={VizOrientation.Horizontal} displayMode={'basic' as never} showUnfilled theme={theme} />
        ) : (
          <BigValue key={index} {...each} value={value} colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.None} theme={theme} />
        )
      )}
    </div>
  );
}

function Content({ panel, all, width, height, range }: { panel: Panel; all: DataFrame[]; width: number; height: number; range: TimeRange }) {
  if (panel.type === 'timeseries' && all.length > 0) {
    return <TimeSeries frames={all} width={width} height={height} timeRange={range} timeZone="utc" legend={{ ...panel.options.legend, showLegend: true } as never} />;
  }
  if (panel.type === 'table' && all[0]?.length > 0) {
    const hidden = panel.transformations?.[0].options.excludeByName ?? {};
    const frame = { ...all[0], fields: all[0].fields.filter((field) => !hidden[field.name]) };
    return <TableNG data={frame} width={width} height={height} timeRange={range} getActions={() => []} />;
  }
  return <Numbers panel={panel} all={panel.type === 'table' ? [] : all} width={width} height={height} />;
}

async function draw(given: Given): Promise<{ drawn: number; empty: string[] }> {
  initPluginTranslations('foreserve');
  const column = given.width / 24;
  const range: TimeRange = (({ from, to }) => ({ from, to, raw: { from, to } }))({
    from: dateTime(given.range.from * 1000),
    to: dateTime(given.range.to * 1000),
  });
  const panels = given.board.panels.flatMap((panel) => [panel, ...(panel.collapsed ? [] : panel.panels ?? [])]);
  const context = { eventsScope: 'foreserve', eventBus: new EventBusSrv() };
  const built = await Promise.all(panels.map(async (panel) => ({ panel, all: panel.type === 'row' ? [] : await data(panel, given) })));
  const bottom = Math.max(...panels.map((panel) => panel.gridPos.y + panel.gridPos.h)) * CELL;
  const page = (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={context}>
        <h2 style={{ margin: '8px 8px 12px' }}>{given.board.title}</h2>
        <div style={{ position: 'relative', height: bottom }}>
          {built.map(({ panel, all }) => {
            const { x, y, w, h } = panel.gridPos;
            const place = { position: 'absolute' as const, left: x * column, top: y * CELL };
            if (panel.type === 'row') {
              return <h4 key={panel.id} style={{ ...place, height: ROW_TITLE, padding: '8px' }}>{`${panel.collapsed ? '▸' : '▾'} ${panel.title}`}</h4>;
            }
            return (
              <div key={panel.id} style={{ ...place, padding: 4 }}>
                <PanelChrome title={panel.title} width={w * column - 8} height={h * CELL - 8}>
                  {(width: number, height: number) => <Content panel={panel} all={all} width={width} height={height} range={range} />}
                </PanelChrome>
              </div>
            );
          })}
        </div>
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
  createRoot(document.getElementById('page')!).render(page);
  const real = built.filter(({ panel }) => panel.type !== 'row');
  const empty = real.filter(({ all }) => all.every((frame) => frame.length === 0)).map(({ panel }) => panel.title);
  return { drawn: real.length, empty };
}

Object.assign(window, { draw });
