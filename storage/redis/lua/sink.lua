-- Reads, takes or moves a sink. Every condition is checked before the first write.
--
-- KEYS  1 the sink
-- ARGV  1 'read'  2 how many dead letters are kept
--       1 'take'  2 owner  3 for how long
--       1 'move'  2 owner  3 for how long  4 whether it is left ('1')  5 6 from  7 8 to  9 how many dead letters are kept
--                 then epoch, index and code of each new one
-- Reply {'ok' or 'conflict', epoch, index, owner, how long until somebody else may, dead}, for 'read' followed by the
--       dead letters as they are stored, the oldest first
-- Times are in milliseconds.
local sink, what, owner = KEYS[1], ARGV[1], ARGV[2]

local function whole(number) return string.format('%.0f', number) end

local stored = redis.call('HMGET', sink, 'epoch', 'next', 'owner', 'till', 'dead')
local epoch, index, held = tonumber(stored[1] or '0'), tonumber(stored[2] or '0'), stored[3] or ''
local till, dead = tonumber(stored[4] or '0'), tonumber(stored[5] or '0')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function reply(status) return {status, epoch, index, held, math.max(till - now, 0), dead} end

if what == 'read' then
  local all, keep = reply('ok'), tonumber(ARGV[2])
  for number = math.max(dead - keep, 0), dead - 1 do
    all[#all + 1] = redis.call('HGET', sink, 'd' .. whole(number % keep))
  end
  return all
end
if what == 'take' then
  if held ~= owner and till > now then return reply('conflict') end
  held, till = owner, now + tonumber(ARGV[3])
  redis.call('HSET', sink, 'owner', held, 'till', whole(till))
  return reply('ok')
end
if held ~= owner or ARGV[5] ~= whole(epoch) or ARGV[6] ~= whole(index) then return reply('conflict') end
epoch, index, till = tonumber(ARGV[7]), tonumber(ARGV[8]), now + tonumber(ARGV[3])
if ARGV[4] == '1' then held = '' end
local keep = tonumber(ARGV[9])
for letter = 10, #ARGV, 3 do
  local value = ARGV[letter] .. ':' .. ARGV[letter + 1] .. ':' .. whole(now) .. ':' .. ARGV[letter + 2]
  redis.call('HSET', sink, 'd' .. whole(dead % keep), value)
  dead = dead + 1
end
redis.call('HSET', sink, 'epoch', whole(epoch), 'next', whole(index), 'owner', held, 'till', whole(till),
  'dead', whole(dead))
return reply('ok')
