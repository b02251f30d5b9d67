/** The part of the JSON editor that is fetched late: CodeMirror in a shadow root. */

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { linter, lintGutter } from "@codemirror/lint";
import { EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { JsonEditorProps } from "./json-editor";

const LINT_AFTER_MS = 250;

const LOOKS = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", fontSize: "0.875rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { background: "var(--sunken)", color: "var(--soft)", border: "none" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    background: "var(--main-wash)",
  },
  ".cm-tooltip": { background: "var(--raised)", color: "var(--text)", border: "1px solid var(--line)" },
});

const COLOURS = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--main)" },
  { tag: tags.string, color: "var(--good)" },
  { tag: tags.number, color: "var(--info)" },
  { tag: [tags.bool, tags.null], color: "var(--warn)" },
]);

/** Open an editor inside of `host`; `latest` always holds the newest properties. */
export function openEditor(host: HTMLElement, latest: { current: JsonEditorProps }) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const { value, autofocus } = latest.current;
  // what was told comes back as the property, perhaps when more is typed already: it must not be shown then
  const told: string[] = [];
  let showing = false;
  const telling = EditorView.updateListener.of((update) => {
    if (!update.docChanged || showing) return;
    const text = update.state.doc.toString();
    told.push(text);
    latest.current.onValue(text);
  });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({ doc: value, extensions: [extensions(latest), telling] }),
  });
  if (autofocus) view.focus();
  return {
    /** Show a text that does not come from the editor itself. */
    show(text: string) {
      const echo = told.indexOf(text);
      if (echo >= 0) return void told.splice(0, echo + 1);
      showing = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
      showing = false;
    },
    close: () => view.destroy(),
  };
}

function extensions(latest: { current: JsonEditorProps }): Extension {
  const standard = jsonParseLinter();
  return [
    lineNumbers(),
    history(),
    drawSelection(),
    indentOnInput(),
    bracketMatching(),
    json(),
    syntaxHighlighting(COLOURS),
    lintGutter(),
    linter(
      (view) => {
        const { check } = latest.current;
        if (!check) return standard(view);
        const most = view.state.doc.length;
        return check(view.state.doc.toString()).map(({ from, to, message }) => ({
          from: Math.min(from, most),
          to: Math.min(to, most),
          severity: "error" as const,
          message,
        }));
      },
      { delay: LINT_AFTER_MS },
    ),
    keymap.of([...defaultKeymap, ...historyKeymap]), // Tab is left to the page: it leads out of the editor
    LOOKS,
    EditorView.lineWrapping,
    EditorState.readOnly.of(latest.current.readOnly ?? false),
    EditorView.contentAttributes.of({ "aria-label": latest.current.label, spellcheck: "false" }),
  ];
}
