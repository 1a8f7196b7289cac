// The start of the page that `cnnlab look` serves: requests go to the server that sent it.
import { start } from "./main.js";
import { http_transport } from "./transport.js";

const server_token = new URLSearchParams(location.search).get("token") || "";
start(document.getElementById("microscope"), http_transport(location.href, server_token));
