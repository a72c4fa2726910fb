-- Reads a tenant at one moment, without the entries of its log and the tiles of its tree.
--
-- KEYS  1 meta  2 log  3 cutoffs  4 writers  5 kinds  6… row hashes
-- Reply {entries, revision, cutoffs, time (Unix milliseconds), epoch, size, root, note, witnessed, first (each of the
--       six empty if there is none), cutoffs, flat, writers, flat, number of kinds there are, each row hash, flat}
local meta, log = KEYS[1], KEYS[2]
local head = redis.call('HMGET', meta, 'rev', 'cut', 'time')
local entries = redis.call('HMGET', log, 'n', 'time')
local reply = {
  tonumber(entries[1] or '0'),
  tonumber(head[1] or '0'),
  tonumber(head[2] or '0'),
  math.max(tonumber(head[3] or '0'), tonumber(entries[2] or '0')),
}
for _, value in ipairs(redis.call('HMGET', log, 'epoch', 'size', 'root', 'note', 'witnessed', 'first')) do
  reply[#reply + 1] = value or ''
end
reply[#reply + 1] = redis.call('HGETALL', KEYS[3])
reply[#reply + 1] = redis.call('HGETALL', KEYS[4])
reply[#reply + 1] = redis.call('SCARD', KEYS[5])
for i = 6, #KEYS do
  reply[#reply + 1] = redis.call('HGETALL', KEYS[i])
end
return reply
