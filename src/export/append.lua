-- Appends entries to a stream, if it stands where they go on from; else says where it stands. All or nothing.
-- KEYS: the stream; the mark beside it, which says whose it is; streams of sessions.
-- ARGV: whose it is now; whose it may have been ("" for nobody else); the last id that is gone on from ("look" only
--   looks); how the stream is trimmed ("~" or "="), and to how many entries; to how many those of sessions are; the
--   newest event there is; how many entries follow. Of each: the place of its key, its number, how many texts, those.
for n = 1, #KEYS do
  local kind = redis.call('TYPE', KEYS[n])
  kind = kind.ok or kind
  if kind ~= 'none' and kind ~= (n == 2 and 'string' or 'stream') then return {'kind', KEYS[n], kind} end
end
local function last_of(key)
  if redis.call('EXISTS', key) == 1 then
    local about = redis.call('XINFO', 'STREAM', key)
    for n = 1, #about, 2 do
      if about[n] == 'last-generated-id' then return about[n + 1] end
    end
  end
  return '0-0'
end
local last, whose = last_of(KEYS[1]), redis.call('GET', KEYS[2])
if not whose then
  if last ~= '0-0' then return {'unmarked', last} end
elseif whose ~= ARGV[1] and whose ~= ARGV[2] then
  return {'other', last, whose}
end
if last ~= ARGV[3] then return {'at', last} end
local sent = {}
for n = 3, #KEYS do
  local id = last_of(KEYS[n])
  sent[n] = tonumber(string.match(id, '^%d+'))
  if sent[n] > tonumber(ARGV[7]) then return {'foreign', KEYS[n], id} end
end
if whose ~= ARGV[1] then redis.call('SET', KEYS[2], ARGV[1]) end
local at = 9
for _ = 1, tonumber(ARGV[8]) do
  local key, number, width = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  if key == 1 or tonumber(number) > sent[key] then
    redis.call('XADD', KEYS[key], number .. '-0', unpack(ARGV, at + 3, at + 2 + width))
    if key == 1 then last = number .. '-0' end
  end
  at = at + 3 + width
end
if at > 9 then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[4], ARGV[5])
  for n = 3, #KEYS do redis.call('XTRIM', KEYS[n], 'MAXLEN', '~', ARGV[6]) end
end
return {'done', last}
