-- Appends to a tenant's log, takes claims, and changes nothing else: what commit.lua does of a commit without a change,
-- for a user who may write nothing but these. Redis lets no script be called that names a key which its user may not
-- write, so that meta, which is read alone, is not among the keys; it has their hash tag.
--
-- KEYS  1 log  2 events  3 writers  4… the claims
-- ARGV  1 writer  2 first counter  3 entries  4 floor of the time  5 the revision whose keys signed, empty if that does
--       not matter  6 meta; then each entry, and how long each claim stays taken
-- Reply {'ok', index, revision, cutoffs, time} | {'stale', revision} | {'sequence', last counter}
--       | {'taken', the claims, from 0, that somebody else has…}
-- Times are Unix milliseconds.
local log, events, writers = KEYS[1], KEYS[2], KEYS[3]
local writer, first, count, floor, signed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local items = 6

local function whole(number) return string.format('%.0f', number) end

local meta = redis.call('HMGET', ARGV[6], 'rev', 'cut', 'time')
local revision, sequence = tonumber(meta[1] or '0'), tonumber(meta[2] or '0')
local head = redis.call('HMGET', log, 'n', 'time')
local next_index = tonumber(head[1] or '0')
local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), tonumber(meta[3] or '0'), tonumber(head[2] or '0'),
  floor)

local function ok(index) return {'ok', index, revision, sequence, now} end

local function holds(index)
  local found = redis.call('XRANGE', events, whole(index + 1) .. '-0', whole(index + count) .. '-0')
  if #found ~= count then return false end
  for i, event in ipairs(found) do
    if event[2][2] ~= ARGV[items + i] then return false end
  end
  return true
end

local last, last_index, last_count = 0, 0, 0
local known = redis.call('HGET', writers, writer)
if known then
  local a, b, c = string.match(known, '^(%d+):(%d+):(%d+)$')
  last, last_index, last_count = tonumber(a), tonumber(b), tonumber(c)
end
if first ~= last + 1 then
  if count == last_count and first + count - 1 == last and holds(last_index) then return ok(last_index) end
  return {'sequence', last}
end
if signed ~= '' and signed ~= whole(revision) then return {'stale', revision} end

local taken, ours = {'taken'}, {}
for i = 4, #KEYS do
  if ours[KEYS[i]] or redis.call('EXISTS', KEYS[i]) == 1 then taken[#taken + 1] = i - 4 end
  ours[KEYS[i]] = true
end
if #taken > 1 then return taken end

for i = 1, count do
  redis.call('XADD', events, whole(next_index + i) .. '-0', 's', ARGV[items + i])
end
redis.call('HSET', log, 'n', whole(next_index + count), 'time', whole(now))
redis.call('HSET', writers, writer, whole(last + count) .. ':' .. whole(next_index) .. ':' .. whole(count))
for i = 4, #KEYS do
  redis.call('SET', KEYS[i], writer, 'PX', ARGV[items + count + i - 3])
end
return ok(next_index)
