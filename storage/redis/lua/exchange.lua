-- Puts a tenant that was loaded in the place of the one that there is.
--
-- KEYS  1…n what there is; n+1…n+m what was loaded, and behind it m keys that it becomes
-- ARGV  1 n  2 m
local have, loaded = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, have do
  redis.call('UNLINK', KEYS[i])
end
for i = have + 1, have + loaded do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('RENAME', KEYS[i], KEYS[i + loaded]) end
end
return 1
