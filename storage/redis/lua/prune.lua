-- Forgets the entries before one, and the tiles of level 0 that hold nothing else.
--
-- KEYS  1 log  2 events  3 tiles
-- ARGV  1 the first entry to keep  2 entries in a tile
-- Reply {1, size of the tree}, or {0, size of the tree} if the tree does not cover what would be forgotten: nothing was
--       written.
local log, events, tiles = unpack(KEYS, 1, 3)
local before, width = tonumber(ARGV[1]), tonumber(ARGV[2])
local size, first = tonumber(redis.call('HGET', log, 'size') or '0'), tonumber(redis.call('HGET', log, 'first') or '0')
if before > size then return {0, size} end
if before > first then
  redis.call('XTRIM', events, 'MINID', string.format('%.0f', before + 1) .. '-0')
  for tile = first / width, before / width - 1 do
    redis.call('HDEL', tiles, '0/' .. string.format('%.0f', tile))
  end
  redis.call('HSET', log, 'first', string.format('%.0f', before))
end
return {1, size}
