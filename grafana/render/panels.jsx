// The panels of a dashboard by Grafana's own components, with the data of a Prometheus.
//
// The page sets window.INPUT = {board, answers}: the dashboard's JSON, and what picture.collect()
// returned. Layout, titles, units, legends, stacking, thresholds are the JSON's.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  createTheme,
  FieldType,
  getDisplayProcessor,
  getFieldDisplayName,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  ThemeContext,
  toDataFrame,
  dateTime,
} from '@grafana/data';
import {
  BarGauge,
  BigValue,
  GlobalStyles,
  PanelChrome,
  Table,
  TimeSeries,
} from '@grafana/ui';

const { board, answers } = window.INPUT;
const theme = createTheme({ colors: { mode: 'dark' } });
const UNIT = 30;
const GAP = 8;
const COLUMNS = 24;
const WIDTH = window.innerWidth - 2 * GAP;

// "{{af}} {{proto}}" with a series' labels.
const legend = (format, labels) =>
  (format || '').replace(/{{(.*?)}}/g, (_, name) => labels[name] ?? '') || 'Value';

// One frame for each series of a panel, as Grafana's data source makes them.
function frames(panel) {
  const made = [];
  for (const target of panel.targets) {
    for (const { metric, values } of answers[`${panel.id}/${target.refId}`] ?? []) {
      made.push({ name: legend(target.legendFormat, metric), values });
    }
  }
  return made.map(({ name, values }, index) => {
    const { custom, ...defaults } = panel.fieldConfig.defaults;
    const frame = toDataFrame({
      name,
      fields: [
        { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000) },
        {
          name,
          type: FieldType.number,
          values: values.map(([, value]) => (isNaN(value) ? null : Number(value))),
          config: {
            color: { mode: panel.type === 'stat' ? 'thresholds' : 'palette-classic' },
            ...defaults,
            displayName: name,
            custom: {
              drawStyle: 'line',
              lineInterpolation: 'linear',
              scaleDistribution: { type: 'linear' },
              axisPlacement: 'auto',
              spanNulls: false,
              ...custom,
              stacking: { group: 'A', mode: 'none', ...custom?.stacking },
            },
          },
        },
      ],
    });
    frame.fields.forEach((field) => {
      const known = field.values.filter((value) => value !== null);
      const [min, max] = [Math.min(...known), Math.max(...known)];
      const range = { min, max, delta: max - min };
      field.state = { seriesIndex: index, displayName: field.config.displayName, range };
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    });
    return frame;
  });
}

const last = (field) => field.values[field.values.length - 1];

function Graph({ panel, width, height }) {
  const data = frames(panel);
  const timeRange = {
    from: dateTime(answers.start * 1000),
    to: dateTime(answers.end * 1000),
    raw: { from: 'now-3h', to: 'now' },
  };
  return (
    <TimeSeries
      frames={data}
      structureRev={1}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}

function Stat({ panel, width, height }) {
  const [frame] = frames(panel);
  const [time, field] = frame.fields;
  return (
    <BigValue
      theme={theme}
      width={width}
      height={height}
      value={{ ...field.display(last(field)), title: '' }}
      colorMode={panel.options.colorMode}
      graphMode={panel.options.graphMode}
      justifyMode="auto"
      textMode="value"
      text={panel.options.text}
      sparkline={panel.options.graphMode === 'area' && field.values.length > 1 ? { x: time, y: field } : undefined}
    />
  );
}

function Bars({ panel, width, height }) {
  const fields = frames(panel).map((frame) => frame.fields[1]);
  fields.sort((a, b) => last(b) - last(a));
  const shown = fields.slice(0, Math.floor(height / 24));
  const titles = shown.map((field) => field.state.displayName);
  const longest = titles.reduce((a, b) => (b.length > a.length ? b : a));
  return shown.map((field) => (
    <div key={field.name} style={{ marginBottom: 4 }}>
      <BarGauge
        theme={theme}
        width={width}
        height={height / shown.length - 4}
        field={{ ...field.config, min: 0, max: last(shown[0]) }}
        display={field.display}
        value={{ ...field.display(last(field)), title: field.state.displayName }}
        alignmentFactors={{ title: longest, text: '100.0 req/s' }}
        orientation="horizontal"
        displayMode={panel.options.displayMode}
        itemSpacing={4}
        lcdCellWidth={8}
        text={panel.options.text}
        showUnfilled
      />
    </div>
  ));
}

const { mergeTransformer, organizeFieldsTransformer, sortByTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer, sortByTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
  }))
);

// The frame of each query, as Grafana's data source makes it for a table, then what the panel does.
function tableFrame(panel) {
  const made = panel.targets.map((target) => {
    const series = answers[`${panel.id}/${target.refId}`];
    const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))];
    const value = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: series.map(() => answers.end * 1000) },
        ...labels.map((name) => ({
          name,
          type: FieldType.string,
          values: series.map(({ metric }) => metric[name]),
        })),
        { name: value, type: FieldType.number, values: series.map((one) => Number(one.values[0][1])) },
      ],
    });
  });
  let frame;
  transformDataFrame(panel.transformations, made).subscribe(([first]) => (frame = first));
  for (const field of frame.fields) {
    const name = getFieldDisplayName(field, frame);
    const override = panel.fieldConfig.overrides.find(({ matcher }) => matcher.options === name);
    field.config = { ...field.config, custom: { ...panel.fieldConfig.defaults.custom } };
    for (const { id, value } of override?.properties ?? []) {
      if (id === 'custom.cellOptions') {
        field.config.custom.cellOptions = value;
        field.config.color = { mode: 'thresholds' };
      } else if (id === 'custom.width') {
        field.config.custom.width = value;
      } else {
        field.config[id] = value;
      }
    }
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  }
  return frame;
}

function Rows({ panel, width, height }) {
  return <Table data={tableFrame(panel)} width={width} height={height} cellHeight="sm" />;
}

const KINDS = { timeseries: Graph, stat: Stat, bargauge: Bars, table: Rows };

// What a panel says that has nothing to show.
const Nothing = ({ panel }) => (
  <div style={{ padding: 8, opacity: 0.6, textAlign: 'center' }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>
);

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const column = WIDTH / COLUMNS;
  const box = {
    position: 'absolute',
    left: GAP + x * column,
    top: GAP + y * (UNIT + GAP),
    width: w * column - GAP,
    height: h * (UNIT + GAP) - GAP,
  };
  if (panel.type === 'row') {
    return <div style={{ ...box, paddingTop: 5, fontSize: 16, fontWeight: 500 }}>⌄ {panel.title}</div>;
  }
  const some = panel.targets.some(({ refId }) => answers[`${panel.id}/${refId}`]?.length);
  const Kind = some ? KINDS[panel.type] : Nothing;
  return (
    <div style={box}>
      <PanelChrome
        title={panel.title}
        description={panel.description}
        width={box.width}
        height={box.height}
      >
        {(width, height) => <Kind panel={panel} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    {board.panels.map((panel) => (
      <Panel key={panel.id} panel={panel} />
    ))}
  </ThemeContext.Provider>
);
