/** The design document that every pool has from the start: the states of its tokens as views, as PiCaS users know them. */
const state = (condition: string) => `function(doc) {
  if (doc.type == "token") {
    if (${condition}) {
      emit(doc._id, doc._id);
    }
  }
}`;

const CONDITIONS = {
  todo: 'doc.lock == 0 && doc.done == 0',
  locked: 'doc.lock > 0 && doc.done == 0',
  done: 'doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) == 0',
  error: 'doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) != 0',
} as const;

const overview = `function(doc) {
  if (doc.type == "token") {
${Object.entries(CONDITIONS)
  .map(([name, condition]) => `    if (${condition}) {\n      emit("${name}", 1);\n    }`)
  .join('\n')}
  }
}`;

export const MONITOR_ID = '_design/Monitor';

export const MONITOR_DESIGN = {
  language: 'javascript',
  views: {
    ...Object.fromEntries(Object.entries(CONDITIONS).map(([name, condition]) => [name, { map: state(condition) }])),
    overview_total: { map: overview, reduce: 'function (key, values, rereduce) {\n  return sum(values);\n}' },
  },
};
