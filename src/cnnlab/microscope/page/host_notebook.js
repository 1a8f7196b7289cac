// The start of the page in a notebook cell: requests are messages of the widget (anywidget).
import { start } from "./main.js";
import { widget_transport } from "./transport.js";

function render({ model, el }) {
  const root = document.createElement("div");
  el.appendChild(root);
  start(root, widget_transport(model));
  return () => root.remove();
}
