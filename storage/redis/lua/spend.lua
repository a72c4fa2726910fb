-- Takes from budgets of one tenant. A budget is the moment at which it is full again; one that is full is forgotten.
--
-- KEYS  budgets
-- ARGV  what is taken from each, in microseconds
-- Reply how long it takes until each is full again, in microseconds
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reply = {}
for i, budget in ipairs(KEYS) do
  local full = math.max(tonumber(redis.call('GET', budget) or '0'), now) + tonumber(ARGV[i])
  redis.call('SET', budget, string.format('%.0f', full), 'PX', math.floor((full - now) / 1000) + 1)
  reply[i] = full - now
end
return reply
