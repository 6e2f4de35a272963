// The load on the payments API, for k6. What to do is in plan.json, which the program writes from the stack's settings.
//
// One iteration is one request, so that the rate of iterations is the rate of requests. A virtual user remembers the
// payments that it made: reads and repetitions are of those, as a real user's would be.
import exec from "k6/execution";
import http, { type RefinedResponse, type ResponseType } from "k6/http";
import { check } from "k6";
import type { Options } from "k6/options";

type Operation = "create-payment" | "repeat-payment" | "read-payment" | "read-wallet";

interface Step {
  operation: Operation;
  service: string;
  target: string;
  percent: number;
}

interface Plan {
  operations: Step[];
  users: number;
  scenario: NonNullable<Options["scenarios"]>[string];
  thresholds: Record<string, string[]>;
}

interface Payment {
  id: string;
  user: string;
  key: string;
  body: string;
}

const plan = JSON.parse(open("./plan.json")) as Plan;
const testId = __ENV.TEST_ID || "local";
const REMEMBERED = 20;
const remembered: Payment[] = [];

export const options: Options = {
  scenarios: { load: plan.scenario },
  thresholds: plan.thresholds,
  // The percentiles that thresholds and the planner read.
  summaryTrendStats: ["avg", "min", "med", "max", "p(95)", "p(99)"],
  tags: { testid: testId },
  // Identifiers in paths would make a time series of each request.
  systemTags: ["status", "method", "name", "scenario", "expected_response"],
};

export default function (): void {
  const share = Math.random() * 100;
  let sum = 0;
  for (const step of plan.operations) {
    sum += step.percent;
    if (share < sum) {
      run(step);
      return;
    }
  }
}

function run({ operation, service, target }: Step): void {
  const tags = { operation, service, name: operation };
  const known = remembered[Math.floor(Math.random() * remembered.length)];
  switch (operation) {
    case "repeat-payment":
      // Nothing to repeat yet: the very first requests of a virtual user create.
      known === undefined ? create(target, tags) : repeat(known, target, tags);
      return;
    case "read-payment":
      known === undefined ? create(target, tags) : get(`${target}/api/v1/payments/${known.id}`, tags);
      return;
    case "read-wallet":
      get(`${target}/api/v1/wallets/${known?.user ?? someUser()}`, tags);
      return;
    case "create-payment":
      create(target, tags);
  }
}

function create(target: string, tags: Record<string, string>): void {
  const user = someUser();
  // Unique over all pods of a test, since k6 numbers the iterations of a scenario across its instances, and over all
  // runs of it by the moment of the start: a key of yesterday's would be answered from memory, and pay nothing.
  const key = `${testId}-${exec.scenario.startTime}-${exec.scenario.iterationInTest}`;
  const body = JSON.stringify({ user_id: user, wallet_id: `wallet-${user}`, amount: "10.00", currency: "EUR" });
  const answer = post(target, body, key, tags);
  const id = answered(answer) ? idOf(answer) : undefined;
  if (id !== undefined) {
    remembered.push({ id, user, key, body });
    if (remembered.length > REMEMBERED) {
      remembered.shift();
    }
  }
}

function repeat(payment: Payment, target: string, tags: Record<string, string>): void {
  const answer = post(target, payment.body, payment.key, tags);
  if (answered(answer)) {
    check(answer, { "a repeated key pays once": (found) => idOf(found) === payment.id }, tags);
  }
}

function post(target: string, body: string, key: string, tags: Record<string, string>): RefinedResponse<ResponseType | undefined> {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  return http.post(`${target}/api/v1/payments`, body, { headers, tags });
}

function get(url: string, tags: Record<string, string>): void {
  answered(http.get(url, { tags }));
}

function answered(answer: RefinedResponse<ResponseType | undefined>): boolean {
  return answer.status >= 200 && answer.status < 300;
}

function idOf(answer: RefinedResponse<ResponseType | undefined>): string | undefined {
  const id: unknown = answer.json("id");
  return typeof id === "string" ? id : undefined;
}

/** A tenth of the users makes nine tenths of the requests. */
function someUser(): string {
  const few = Math.max(1, Math.floor(plan.users / 10));
  const among = Math.random() < 0.9 ? few : plan.users;
  return `user-${Math.floor(Math.random() * among)}`;
}

export function handleSummary(data: unknown): Record<string, string> {
  return { [__ENV.SUMMARY_FILE || "stdout"]: JSON.stringify(data, null, 2) };
}
