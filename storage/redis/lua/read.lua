-- Reads where a tenant stands and, at the same moment, its rows, its cutoffs, or the head of its log's tree.
--
-- KEYS  1 meta  2 log  3 cutoffs  4 cutoffs by sequence  5 kinds  6… row hashes
-- ARGV  1 what: 'position', 'rows', 'cutoffs' or 'head'  2 the sequence number after which cutoffs are wanted
-- Reply {entries, revision, cutoffs, time (Unix milliseconds)}, followed
--       for rows by the number of kinds there are and by each hash, flat;
--       for cutoffs by name, value, name, value…;
--       for the head by epoch, size, root, note, witnessed, first, each empty if there is none
local meta, log, cutoffs, by_seq, kinds = unpack(KEYS, 1, 5)
local what, after = ARGV[1], ARGV[2]

local head = redis.call('HMGET', meta, 'rev', 'cut', 'time')
local clock = redis.call('TIME')
local entries = redis.call('HMGET', log, 'n', 'time')
local reply = {
  tonumber(entries[1] or '0'),
  tonumber(head[1] or '0'),
  tonumber(head[2] or '0'),
  math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), tonumber(head[3] or '0'), tonumber(entries[2] or '0')),
}
if what == 'rows' then
  reply[5] = redis.call('SCARD', kinds)
  for i = 6, #KEYS do
    reply[i] = redis.call('HGETALL', KEYS[i])
  end
elseif what == 'cutoffs' then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', by_seq, '(' .. after, '+inf')) do
    reply[#reply + 1] = name
    reply[#reply + 1] = redis.call('HGET', cutoffs, name)
  end
elseif what == 'head' then
  for _, value in ipairs(redis.call('HMGET', log, 'epoch', 'size', 'root', 'note', 'witnessed', 'first')) do
    reply[#reply + 1] = value or ''
  end
end
return reply
