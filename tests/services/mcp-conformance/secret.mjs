// Shows the secret of the bridge with every request of the process that imports this.
import { Agent, setGlobalDispatcher } from "undici";

const shown = `Bearer ${process.env.WRIT_BRIDGE_SECRET}`;

function withSecret(headers) {
  if (Array.isArray(headers)) return [...headers, "authorization", shown];
  const plain = typeof headers?.[Symbol.iterator] === "function" ? Object.fromEntries(headers) : headers;
  return { ...plain, authorization: shown };
}

setGlobalDispatcher(
  new Agent().compose((dispatch) => (options, handler) =>
    dispatch({ ...options, headers: withSecret(options.headers) }, handler),
  ),
);
