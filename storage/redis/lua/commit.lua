-- Appends to a tenant's log and applies the change that it records. Every condition is checked before the first write,
-- and the first write is the one that Redis itself may refuse (a stream id that does not increase).
--
-- KEYS  1 meta  2 log  3 events  4 writers  5 cutoffs  6 cutoffs by sequence  7 cutoffs by end  8 kinds
--       9… the row hashes that the change touches, and the claims
-- ARGV  1 writer  2 first counter  3 entries  4 floor of the time  5 expected revision
--       6 rows to put  7 rows to delete  8 cuts  9 targets to enable  10 claims
--       11 how long an enabled cutoff stays readable  12 how many old cutoffs to sweep
--       13 the cutoff after which nothing may have been disabled  14 the revision whose keys signed; each empty if that
--       does not matter
--       then each entry; row: key number, kind, id, value; deletion: key number, id; cut: name, keep, disable; name;
--       claim: key number, how long it stays taken
-- Reply {'ok', index, revision, cutoffs, time} | {'conflict', revision} | {'stale', revision}
--       | {'sequence', last counter}
--       | {'taken', the claims, from 0, that somebody else has…}
-- Times are Unix milliseconds.
local meta, log, events, writers, cutoffs, by_seq, by_end, kinds = unpack(KEYS, 1, 8)
local writer, first, count, floor, expect = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local puts, deletes, cuts, enables = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local claims, enabled_for, sweep, seen = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12], ARGV[13]
local signed, items = ARGV[14], 14

local function whole(number) return string.format('%.0f', number) end
local function stored(key, field) return tonumber(redis.call('HGET', key, field) or '0') end

local next_index, revision, sequence = stored(log, 'n'), stored(meta, 'rev'), stored(meta, 'cut')
local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), stored(meta, 'time'), stored(log, 'time'),
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
if puts + deletes > 0 then
  if expect ~= whole(revision) then return {'conflict', revision} end
  local later = seen ~= '' and redis.call('ZRANGEBYSCORE', by_seq, '(' .. seen, '+inf') or {}
  for _, name in ipairs(later) do
    if string.sub(redis.call('HGET', cutoffs, name), -2) == ':1' then return {'conflict', revision} end
  end
end

local claim = #ARGV - 2 * claims
if claims > 0 then
  local taken, ours = {'taken'}, {}
  for i = 1, claims do
    local key = KEYS[tonumber(ARGV[claim + 2 * i - 1])]
    if ours[key] or redis.call('EXISTS', key) == 1 then taken[#taken + 1] = i - 1 end
    ours[key] = true
  end
  if #taken > 1 then return taken end
end

local index = next_index
for i = 1, count do
  redis.call('XADD', events, whole(index + i) .. '-0', 's', ARGV[items + i])
end
items = items + count
next_index = index + count
redis.call('HSET', log, 'n', whole(next_index))
redis.call('HSET', writers, writer, whole(last + count) .. ':' .. whole(index) .. ':' .. whole(count))

-- Deletions are applied first although they are listed second.
local deletion = items + 4 * puts
for _ = 1, deletes do
  redis.call('HDEL', KEYS[tonumber(ARGV[deletion + 1])], ARGV[deletion + 2])
  deletion = deletion + 2
end
for _ = 1, puts do
  redis.call('HSET', KEYS[tonumber(ARGV[items + 1])], ARGV[items + 3], ARGV[items + 4])
  redis.call('SADD', kinds, ARGV[items + 2])
  items = items + 4
end
items = deletion
if puts + deletes > 0 then revision = revision + 1 end

local function cutoff(name)
  local value = redis.call('HGET', cutoffs, name)
  if not value then return nil end
  local seq, at, till, disabled = string.match(value, '^(%d+):(%d+):(%d+):([01])$')
  return {seq = tonumber(seq), at = tonumber(at), till = tonumber(till), disabled = disabled == '1'}
end

local function put_cutoff(name, at, till, disabled)
  sequence = sequence + 1
  redis.call('HSET', cutoffs, name,
    whole(sequence) .. ':' .. whole(at) .. ':' .. whole(till) .. ':' .. (disabled and '1' or '0'))
  redis.call('ZADD', by_seq, whole(sequence), name)
  if disabled then
    redis.call('ZREM', by_end, name)
  else
    redis.call('ZADD', by_end, whole(till), name)
  end
end

if cuts > 0 then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', by_end, '-inf', '(' .. whole(now), 'LIMIT', '0', sweep)) do
    redis.call('HDEL', cutoffs, name)
    redis.call('ZREM', by_seq, name)
    redis.call('ZREM', by_end, name)
  end
end
for _ = 1, cuts do
  local name, till, disable = ARGV[items + 1], now + tonumber(ARGV[items + 2]), ARGV[items + 3] == '1'
  local old = cutoff(name)
  if old then
    till = math.max(till, old.till)
    disable = disable or old.disabled
  end
  put_cutoff(name, now, till, disable)
  items = items + 3
end
for _ = 1, enables do
  local name = ARGV[items + 1]
  local old = cutoff(name)
  if old and old.disabled then put_cutoff(name, old.at, math.max(old.till, now + enabled_for), false) end
  items = items + 1
end

for i = 1, claims do
  redis.call('SET', KEYS[tonumber(ARGV[claim + 2 * i - 1])], writer, 'PX', ARGV[claim + 2 * i])
end

redis.call('HSET', meta, 'rev', whole(revision), 'cut', whole(sequence), 'time', whole(now))
return ok(index)
