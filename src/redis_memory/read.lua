-- What is in a place, and up to which change of the asking fleet that is.
-- KEYS: how far each fleet is; when places were forgotten; the place.
-- ARGV: the fleet; what the place is called; how many runs of a session at the most.
local found = {'is', redis.call('HGET', KEYS[1], ARGV[1]) or '0', redis.call('HGET', KEYS[2], ARGV[2]) or ''}
local all
if string.sub(ARGV[2], 1, 8) == 'session:' then
  all = redis.call('ZRANGE', KEYS[3], -tonumber(ARGV[3]), -1)
else
  all = redis.call('HVALS', KEYS[3])
end
for n = 1, #all do found[n + 3] = all[n] end
return found
