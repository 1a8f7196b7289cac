// The start of a saved page: replies lie in the page itself, and nothing is asked from anywhere.
import { start } from "./main.js";
import { saved_data, saved_transport } from "./saved.js";

const saved_root = document.getElementById("microscope");
saved_data(document.getElementById("saved").textContent).then(
  (data) => start(saved_root, saved_transport(data)),
  (error) => {
    saved_root.textContent = `This page cannot be read: ${error.message}. Save it again, and open it in a newer browser.`;
  },
);
