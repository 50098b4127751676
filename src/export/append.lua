-- Appends entries to a stream, if it stands where they go on from; else says where it stands. All or nothing.
-- KEYS: the stream; the mark beside it, which says whose it is; streams of sessions, each with its mark behind it.
-- ARGV: whose it is now; whose it may have been ("" for nobody else); the last id that is gone on from ("look" only
--   looks); how the stream is trimmed ("~" or "="), and to how many entries; to how many those of sessions are; the
--   newest event there is; the id of the last entry, if that is to be compared (else ""), and what its field `event`
--   must be; " DATABASE=UNTIL;" for each one that ours was a copy of; how many entries follow. Of each: the place of its key, its number, how many texts, those.
for n = 1, #KEYS do
  local kind = redis.call('TYPE', KEYS[n])
  kind = kind.ok or kind
  if kind ~= 'none' and kind ~= (n % 2 == 0 and 'string' or 'stream') then return {'kind', KEYS[n], kind} end
end
local function last_of(key)
  local last, entry = '0-0', false
  if redis.call('EXISTS', key) == 1 then
    local about = redis.call('XINFO', 'STREAM', key)
    for n = 1, #about, 2 do
      if about[n] == 'last-generated-id' then last = about[n + 1] end
      if about[n] == 'last-entry' then entry = about[n + 1] end
    end
  end
  return last, entry
end
local last, entry = last_of(KEYS[1])
local whose = redis.call('GET', KEYS[2])
local newest_entry = entry and entry[1] or ''
if not whose then
  if last ~= '0-0' then return {'unmarked', last} end
elseif whose ~= ARGV[1] and whose ~= ARGV[2] then
  return {'other', last, whose}
end
if last ~= ARGV[3] or (ARGV[8] ~= '' and ARGV[8] ~= newest_entry) then return {'at', last, newest_entry} end
if ARGV[8] ~= '' then
  local event = false
  for n = 1, #entry[2], 2 do
    if entry[2][n] == 'event' then event = entry[2][n + 1] end
  end
  if event ~= ARGV[9] then return {'differs', newest_entry} end
end
local function shared_with(database)
  if database == ARGV[1] then return tonumber(ARGV[7]) end
  local _, at = string.find(ARGV[10], ' ' .. database .. '=', 1, true)
  return at and tonumber(string.match(ARGV[10], '^%d+', at + 1)) or -1
end
local sent = {}
for n = 3, #KEYS, 2 do
  local id = last_of(KEYS[n])
  local owner = redis.call('GET', KEYS[n + 1])
  sent[n] = tonumber(string.match(id, '^%d+'))
  if owner and sent[n] > shared_with(owner) or not owner and id ~= '0-0' then
    return {'foreign', KEYS[n], id, owner or ''}
  end
  if owner ~= ARGV[1] then sent[-n] = KEYS[n + 1] end
end
for n = 3, #KEYS, 2 do
  if sent[-n] then redis.call('SET', sent[-n], ARGV[1]) end
end
if whose ~= ARGV[1] then redis.call('SET', KEYS[2], ARGV[1]) end
local at = 12
for _ = 1, tonumber(ARGV[11]) do
  local key, number, width = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  if key == 1 or tonumber(number) > sent[key] then
    redis.call('XADD', KEYS[key], number .. '-0', unpack(ARGV, at + 3, at + 2 + width))
    if key == 1 then last = number .. '-0' end
  end
  at = at + 3 + width
end
if at > 12 then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[4], ARGV[5])
  for n = 3, #KEYS, 2 do redis.call('XTRIM', KEYS[n], 'MAXLEN', '~', ARGV[6]) end
end
return {'done', last}
