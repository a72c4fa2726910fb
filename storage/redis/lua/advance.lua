-- Replaces the head of a log's Merkle tree and stores tiles: these first, because what ends a script does not undo it, and
-- a head without its tiles would be the end of the log.
--
-- KEYS  1 log  2 tiles  3 meta
-- ARGV  1 epoch  2 size  3 root of the head that is replaced; empty where there is none
--       4 epoch  5 size  6 root  7 note  8 witnessed of the next one  9 revision of the rows
--       then each tile: level/index, hashes
-- Reply 1, or 0 if the head or the revision is another one or the log is shorter than the next: nothing was written.
local log, tiles, meta = unpack(KEYS)
local head = redis.call('HMGET', log, 'epoch', 'size', 'root', 'n')
if (head[1] or '') ~= ARGV[1] or (head[2] or '') ~= ARGV[2] or (head[3] or '') ~= ARGV[3] then return 0 end
if tonumber(ARGV[5]) > tonumber(head[4] or '0') then return 0 end
if (redis.call('HGET', meta, 'rev') or '0') ~= ARGV[9] then return 0 end
for i = 10, #ARGV, 2 do
  redis.call('HSET', tiles, ARGV[i], ARGV[i + 1])
end
redis.call('HSET', log, 'epoch', ARGV[4], 'size', ARGV[5], 'root', ARGV[6], 'note', ARGV[7], 'witnessed', ARGV[8])
return 1
