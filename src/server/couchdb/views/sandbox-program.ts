/**
 * What runs inside the sandbox, before and around the functions of a design document: CouchDB's environment
 * (https://docs.couchdb.org/en/stable/query-server/javascript.html) and nothing else. It reaches nothing outside; all
 * goes in and out as text. A function that goes on emitting behind the limit, and catches what that throws, is held
 * until it is interrupted: that cannot be caught.
 *
 * `map` answers lines: `log` or `error` and a JSON text, or a view's number, a key and a value as JSON texts.
 */
export const SANDBOX_PROGRAM = `(function (lib, maxRows, maxCharacters) {
  'use strict';
  var parse = JSON.parse, stringify = JSON.stringify, freeze = Object.freeze, keysOf = Object.keys, text = String;
  var isArray = Array.isArray, isFatal = /^(InternalError: )?out of memory/;
  var maps = [], reduces = {}, lines = '', rows = 0, view = -1, tooMuch = '', logged = 0;

  function json(value) {
    var written = stringify(value);
    return written === undefined ? 'null' : written;
  }
  function emit(key, value) {
    var row = view + '\\n' + json(key) + '\\n' + json(value) + '\\n';
    rows++;
    if (rows > maxRows + 1000) for (;;) ;
    if (rows > maxRows) tooMuch = 'emits more than ' + maxRows + ' rows';
    else if (lines.length + row.length > maxCharacters) tooMuch = 'emits more than ' + maxCharacters + ' characters';
    if (tooMuch !== '') throw new Error(tooMuch);
    lines += row;
  }
  function log(message) {
    if (logged++ < 10) lines += 'log\\n' + json(text(typeof message === 'string' ? message : json(message)).slice(0, 1000)) + '\\n';
  }
  function sum(values) {
    var total = 0;
    for (var at = 0; at < values.length; at++) total += values[at];
    return total;
  }
  function freezeAll(value) {
    if (typeof value !== 'object' || value === null) return;
    freeze(value);
    var names = keysOf(value);
    for (var at = 0; at < names.length; at++) freezeAll(value[names[at]]);
  }
  function described(error) {
    if (isArray(error)) return json(error);
    if (typeof error !== 'object' || error === null) return text(error);
    return text(error.name) + ': ' + text(error.message) + (typeof error.stack === 'string' ? ' ' + error.stack.trim().split('\\n')[0] : '');
  }
  function map(document) {
    lines = ''; rows = 0; logged = 0;
    var doc = parse(document);
    freezeAll(doc);
    for (var at = 0; at < maps.length; at++) mapOne(maps[at], doc);
    return lines;
  }
  function mapOne(one, doc) {
    var before = lines;
    view = one.number; rows = 0; tooMuch = '';
    try {
      one.run.call(null, doc);
    } catch (error) {
      var said = '';
      try { said = described(error); } catch (again) { said = 'an error that cannot be told'; }
      if (isFatal.test(said)) throw error;
      if (tooMuch === '') lines = before + 'error\\n' + json(view + ' ' + said.slice(0, 500)) + '\\n';
    }
    if (tooMuch !== '') throw new Error('too much: ' + tooMuch);
  }
  function reduce(name, keys, values, rereduce) {
    lines = '';
    return json(reduces[name].call(null, keys === '' ? null : parse(keys), parse(values), rereduce === 'true'));
  }

  function load(path, from) {
    var names = path.split('/'), at = names[0] === '.' || names[0] === '..' ? from.slice(0, -1) : [];
    for (var i = 0; i < names.length; i++) {
      if (names[i] === '..') at.pop();
      else if (names[i] !== '.') at.push(names[i]);
    }
    var source = { views: { lib: lib } };
    for (var j = 0; j < at.length; j++) source = source === null || source === undefined ? undefined : source[at[j]];
    if (typeof source !== 'string') throw new Error('require("' + path + '"): no such module among views.lib');
    return { at: at, source: source };
  }
  var modules = {};
  function requireFrom(from) {
    return function (path) {
      var found = load(text(path), from), name = found.at.join('/');
      if (modules[name] === undefined) {
        modules[name] = { id: name, exports: {} };
        new Function('module', 'exports', 'require', found.source).call(null, modules[name], modules[name].exports, requireFrom(found.at));
      }
      return modules[name].exports;
    };
  }

  var offered = {
    emit: emit, log: log, sum: sum, toJSON: json, require: requireFrom([]),
    isArray: function (value) { return isArray(value); },
  };
  keysOf(offered).forEach(function (name) {
    Object.defineProperty(globalThis, name, { value: offered[name], writable: true, configurable: true });
  });
  return {
    addMap: function (number, run) { maps.push({ number: number, run: run }); },
    addReduce: function (name, run) { reduces[name] = run; },
    map: map,
    reduce: reduce,
    overflow: function () { return tooMuch; },
    test: function (pattern, value) { return new RegExp(pattern).test(value) ? 'true' : 'false'; },
  };
})`;
