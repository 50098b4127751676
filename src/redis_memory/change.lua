-- Makes changes in places. Each may have been made before, and may be overtaken by a later one: then nothing happens.
-- KEYS: how far each fleet is; when places were forgotten; then the places.
-- ARGV: the fleet; how many runs a session keeps; how many notes and removed notes an agent keeps; the number of the last change, and
--   whether that holds even if a higher one is known ("set"). Then of each change: the place of its key, what the place is called, the
--   kind, when (microseconds), the field of a note, what is to stand there.
local number, last = tonumber, ARGV[4]
for n = 6, #ARGV, 6 do
  local key, place, kind, at, field, body = KEYS[number(ARGV[n])], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], ARGV[n + 4], ARGV[n + 5]
  local forgotten = redis.call('HGET', KEYS[2], place)
  if not forgotten or number(at) > number(forgotten) then
    if kind == 'said' then
      redis.call('ZADD', key, at, body)
      redis.call('ZREMRANGEBYRANK', key, 0, -1 - number(ARGV[2]))
    elseif kind == 'noted' then
      local old = redis.call('HGET', key, field)
      if not old or cjson.decode(old).at <= number(at) then redis.call('HSET', key, field, body) end
      if redis.call('HLEN', key) > number(ARGV[3]) then
        local all = redis.call('HGETALL', key)
        for m = 1, #all, 2 do
          if cjson.decode(all[m + 1]).text == '' then redis.call('HDEL', key, all[m]) end
        end
      end
    else
      redis.call('HSET', KEYS[2], place, at)
      if string.sub(place, 1, 8) == 'session:' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', at)
      else
        local all = redis.call('HGETALL', key)
        for m = 1, #all, 2 do
          if cjson.decode(all[m + 1]).at <= number(at) then redis.call('HDEL', key, all[m]) end
        end
      end
    end
  end
end
local known = redis.call('HGET', KEYS[1], ARGV[1]) or '0'
if last ~= '' and (ARGV[5] == 'set' or number(last) > number(known)) then
  redis.call('HSET', KEYS[1], ARGV[1], last)
  known = last
end
return {'at', known}
