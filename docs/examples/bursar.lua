-- Asks bursar whether a call may be made, for HAProxy 2.6 and later. In a frontend or backend:
--
--     http-request lua.bursar SOCKET RESOURCE HEADER
--
-- SOCKET is the decision endpoint's, RESOURCE the tool, HEADER the header that carries the key to the API. Sets
-- txn.bursar_status (200, 401 or 403; something else, or nothing, if bursar could not be asked), txn.bursar_key,
-- txn.bursar_txn, txn.bursar_decision, txn.bursar_error and txn.bursar_challenge.

-- What belongs to the connection or the body, and what only this script may say.
local not_asked = {
  ["host"] = true, ["connection"] = true, ["keep-alive"] = true, ["te"] = true, ["trailer"] = true,
  ["transfer-encoding"] = true, ["content-length"] = true, ["expect"] = true,
  ["x-forwarded-for"] = true, ["x-bursar-resource"] = true,
}

-- first returns the first value of a header of an answer.
local function first(headers, name)
  local values = headers and headers[name]
  return values and (values[0] or values[1]) or ""
end

local function ask(txn, socket, resource, header)
  local headers = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    if not not_asked[name] then
      local all = {}
      for i = 0, #values do
        all[#all + 1] = values[i]
      end
      headers[name] = all
    end
  end
  headers["x-bursar-resource"] = { resource }
  headers["x-original-method"] = { txn.sf:method() }
  headers["x-original-uri"] = { txn.sf:pathq() }
  headers["x-forwarded-for"] = { txn.sf:src() }

  local answer = core.httpclient():get {
    url = "http://bursar/v1/decide", dst = "unix@" .. socket, headers = headers, timeout = 3000,
  }
  txn:set_var("txn.bursar_status", answer.status)
  txn:set_var("txn.bursar_key", first(answer.headers, "x-bursar-inject-" .. header:lower()))
  txn:set_var("txn.bursar_decision", first(answer.headers, "x-bursar-decision"))
  txn:set_var("txn.bursar_txn", first(answer.headers, "x-bursar-txn"))
  txn:set_var("txn.bursar_error", first(answer.headers, "bursar-error"))
  txn:set_var("txn.bursar_challenge", first(answer.headers, "www-authenticate"))
end

core.register_action("bursar", { "http-req" }, ask, 3)
