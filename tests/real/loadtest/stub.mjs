// Stands in for k6's modules: writes each request down, and answers like a service that honours idempotency keys.
import { readFileSync } from "node:fs";

const paid = new Map();
export const requests = [];

globalThis.__ENV = { TEST_ID: "t" };
globalThis.open = (path) => readFileSync(path, "utf-8");
const state = { iteration: 0 };
export const scenario = {
  startTime: Number(process.env.STARTED ?? 1),
  get iterationInTest() {
    return state.iteration;
  },
};
export const checks = { passed: 0, failed: 0 };

function answer(id) {
  return { status: 200, json: () => id };
}

export function post(url, body, { headers, tags }) {
  const key = headers["Idempotency-Key"];
  requests.push({ method: "POST", url, body, key, tags });
  if (!paid.has(key)) {
    paid.set(key, `payment-${paid.size}`);
  }
  return answer(paid.get(key));
}

export function get(url, { tags }) {
  requests.push({ method: "GET", url, tags });
  return answer(undefined);
}

export function check(subject, conditions) {
  for (const holds of Object.values(conditions)) {
    holds(subject) ? (checks.passed += 1) : (checks.failed += 1);
  }
}

export function next() {
  state.iteration += 1;
}

export default { post, get, scenario };
