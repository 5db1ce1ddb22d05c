-- wrk plays a list of requests, one a line: PATH [TAB RANGE]. All are built before the first is
-- sent; `wrk ... -- LIST`. Prints one JSON line at the end.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   built = {}
   for line in io.lines(args[1]) do
      local path, range = line:match("^([^\t]*)\t?(.*)$")
      local headers = {}
      if range ~= "" then headers["Range"] = range end
      built[#built + 1] = wrk.format("GET", path, headers)
   end
   at = (number * 7919) % #built
end

function request()
   at = at % #built + 1
   return built[at]
end

function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"bytes":%.0f,"duration_us":%d,"p50_us":%.0f,"p99_us":%.0f,' ..
      '"errors":%d}\n',
      summary.requests, summary.bytes, summary.duration, latency:percentile(50),
      latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
