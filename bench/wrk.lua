-- wrk script: posts one fixed body and, at the end, prints one line of JSON with the figures.
-- Environment: BODY_FILE, CONTENT_TYPE, HEADER_LENGTH (Inference-Header-Content-Length, optional), DELAY_MS (a connection
-- waits this long between its requests, optional: a load below what the server could take), PATHS (comma-separated, instead
-- of the address's own: one after the other), ZIPF_KEYS (N: each request has a number from 1 to N for KEY in the body, number k
-- with a probability proportional to 1/k; SEED: of these numbers).
local file = assert(io.open(os.getenv("BODY_FILE"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = os.getenv("CONTENT_TYPE") or "application/json"
if os.getenv("HEADER_LENGTH") then
   wrk.headers["Inference-Header-Content-Length"] = os.getenv("HEADER_LENGTH")
end

if os.getenv("DELAY_MS") then
   local delay_ms = tonumber(os.getenv("DELAY_MS"))
   function delay()
      return delay_ms
   end
end

if os.getenv("PATHS") then
   local paths, turn = {}, 0
   for path in os.getenv("PATHS"):gmatch("[^,]+") do
      paths[#paths + 1] = path
   end
   function request()
      turn = turn % #paths + 1
      return wrk.format(nil, paths[turn])
   end
end

if os.getenv("ZIPF_KEYS") then
   local keys, sums, total, before, after = tonumber(os.getenv("ZIPF_KEYS")), {}, 0, wrk.body:match("^(.*)KEY(.*)$")
   local threads = 0
   for k = 1, keys do
      total = total + 1 / k
      sums[k] = total
   end
   function setup(thread)
      threads = threads + 1
      thread:set("number", threads)
   end
   function init()
      math.randomseed(tonumber(os.getenv("SEED") or "1") * 100 + number)
   end
   function request()
      local at, low, high = math.random() * total, 1, keys
      while low < high do
         local middle = math.floor((low + high) / 2)
         if sums[middle] < at then
            low = middle + 1
         else
            high = middle
         end
      end
      return wrk.format(nil, nil, nil, before .. low .. after)
   end
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '\nJSON {"requests": %d, "duration_us": %d, "errors": %d, "p50_us": %.1f, "p90_us": %.1f, "p99_us": %.1f, "mean_us": %.2f}\n',
      summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.mean))
end
