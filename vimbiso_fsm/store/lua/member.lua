-- Other requests about one member, whose keys are sound.

if mode == 'wake' then -- ARGV 4 wake-up or ''  5 member  6 seconds from now before which it is not set; KEYS[6] is here
  local wake = ARGV[4] ~= '' and math.max(ARGV[4], now + ARGV[6])
  local woken = wake and call('ZSCORE', KEYS[6], ARGV[5])
  if wake and (not woken or tonumber(woken) > wake) then
    call('ZADD', KEYS[6], string.format('%.6f', wake), ARGV[5])
  end
  return {KEYS[1], token, 'read', at}
end
local function read_with_messages()
  local state = read_state()
  state.messages = call('HGET', KEYS[1], 'i')
  return state
end
if mode == 'load' then return current('stored', read_with_messages()) end
if mode == 'load_previous' then return current('stored', read_with_messages(), call('HGET', KEYS[1], 'p')) end
if mode == 'records' then return {KEYS[1], token, 'read', at, others().all_records(read_state())} end
if mode == 'audit' then return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[4], ARGV[4], ARGV[5])} end
if mode == 'drop_oldest' then -- ARGV 4 entries to drop  5 version  6 digest of the next one  7 seconds it lives or ''
  local version, digest = string.match(call('LINDEX', KEYS[4], ARGV[4]) or '', '^(%d+) (%S*) ')
  local is_next = version == ARGV[5] and digest == ARGV[6]
  if is_next and ARGV[7] ~= '' then call('EXPIREAT', KEYS[4], whole(now + ARGV[7])) end
  if is_next then call('LTRIM', KEYS[4], ARGV[4], -1) end
  return {KEYS[1], token, 'read', at, is_next and 1 or 0}
end
if mode == 'inherit' then -- ARGV 4 the earliest instant of use or ''
  local state, tokens = read_state(), {}
  local function read(first, last)
    local found = call('ZRANGE', KEYS[5], first, last, 'BYSCORE', 'LIMIT', 0, TOKENS_AT_ONCE, 'WITHSCORES')
    for i = 1, #found do tokens[#tokens + 1] = found[i] end
  end
  if ARGV[4] == '' then read('-inf', '(0') end -- damaged ones
  local is_later = ARGV[4] ~= '' and tonumber(ARGV[4]) > oldest
  read(is_later and ARGV[4] or string.format('(%.6f', oldest), '+inf')
  return {KEYS[1], token, 'read', at, others().all_records(state), tokens, state.tokens or ''}
end
if mode == 'use_tokens' then -- ARGV 4- tokens, each with its instant
  local kind = call('TYPE', KEYS[5]).ok
  if kind ~= 'zset' and kind ~= 'none' then return {KEYS[1], token, 'read', at, 0} end
  local used = {}
  for i = 4, #ARGV, 2 do used[#used + 1], used[#used + 2] = ARGV[i + 1], ARGV[i] end
  others().use_in_set(used, 'NX')
  return {KEYS[1], token, 'read', at, 1}
end

-- ARGV 4 version  5 digest  6 ids  7 the ids that still wait  8 wake-up or ''  9 member  10 messages or nothing; each id
--      and each message has a space after it
if mode == 'mark_sent' then
  local state, kept = read_state(), {}
  if not holds_document(state) then return {KEYS[1], token, 'read', at} end
  local version, digest = head(state)
  local is_current = version == ARGV[4] and digest == ARGV[5]
  local function is_among(id, ids) return string.find(' ' .. ids, ' ' .. id .. ' ', 1, true) end
  for id in string.gmatch(state.sent or '', '%S+') do
    if not is_among(id, ARGV[6]) and (not is_current or is_among(id, ARGV[7])) then kept[#kept + 1] = id end
  end
  for id in string.gmatch(ARGV[6], '%S+') do kept[#kept + 1] = id end
  call('ZCARD', KEYS[6]) -- for its type alone
  call('HSET', KEYS[1], 's', table.concat(kept, ' ', math.max(#kept - SENT_KEPT, 0) + 1))
  if ARGV[10] then
    local messages = {}
    for message in string.gmatch(call('HGET', KEYS[1], 'i') or '', '%S+') do
      if not is_among(message, ARGV[10]) then messages[#messages + 1] = message end
    end
    for message in string.gmatch(ARGV[10], '%S+') do messages[#messages + 1] = message end
    call('HSET', KEYS[1], 'i', table.concat(messages, ' ', math.max(#messages - MESSAGES_KEPT, 0) + 1))
  end
  if is_current and ARGV[8] == '' then call('ZREM', KEYS[6], ARGV[9]) end
  if is_current and ARGV[8] ~= '' then call('ZADD', KEYS[6], ARGV[8], ARGV[9]) end
  return {KEYS[1], token, 'read', at}
end

-- The document before stands in its field as "<version> <digest> <check> <document>".
local function previous()
  local version, digest, check, first = string.match(call('HGET', KEYS[1], 'p') or '', '^(%d+) (%S*) (%x+) ()')
  if not version then return end
  local document = string.sub(call('HGET', KEYS[1], 'p'), first)
  return document, version, digest, check
end

-- ARGV 4 the bytes of the document or ''  5 those in their place  6 the bytes as they are packed  7 as they were before
--      8-11 the same of the document before  12- records and those in their place
if mode == 'rewrite' then
  local state, rewritten = read_state(), 0
  local function rewrite(field, value)
    call('HSET', KEYS[1], field, value)
    rewritten = rewritten + 1
  end
  if ARGV[4] ~= '' and state.v and state.h and (state.d == ARGV[4] or state.d == ARGV[6] or state.d == ARGV[7]) then
    call('HSET', KEYS[1], 'c', others().check_of(state.v, state.h, ARGV[5]))
    rewrite('d', ARGV[5])
  end
  local before, version, digest = previous()
  if ARGV[8] ~= '' and (before == ARGV[8] or before == ARGV[10] or before == ARGV[11]) then
    rewrite('p', version .. ' ' .. digest .. ' ' .. others().check_of(version, digest, ARGV[9]) .. ' ' .. ARGV[9])
  end
  local places = {}
  for i = 0, RECORDS_KEPT - 1 do places[#places + 1] = others().turn_field(i) end
  for i = 0, UNTAKEN_KEPT - 1 do places[#places + 1] = others().untaken_field(i) end
  local found = call('HMGET', KEYS[1], unpack(places))
  for i = 12, #ARGV, 2 do
    for place, record in ipairs(found) do
      if record == ARGV[i] then rewrite(places[place], ARGV[i + 1]) end
    end
  end
  return {KEYS[1], token, 'read', at, rewritten}
end

-- The only key of these modes is that of the keys of a member's own.
if mode == 'keys' then -- ARGV 4 seconds that keys with an end are kept, at least
  if tonumber(ARGV[4]) > 0 and call('PTTL', KEYS[1]) >= 0 then others().expire(1, now + ARGV[4]) end
  return {KEYS[1], token, 'read', at, call('HGETALL', KEYS[1])}
end
if mode == 'keep_key' then -- ARGV 4 id  5 key  6 '1' to keep it only in place of one with the same id, or ''  7 as 4 above
  local has_end = call('PTTL', KEYS[1]) ~= -1 -- so has the first key, if it is to have one
  if ARGV[6] == '' or call('HEXISTS', KEYS[1], ARGV[4]) == 1 then call('HSET', KEYS[1], ARGV[4], ARGV[5]) end
  if tonumber(ARGV[7]) > 0 and has_end and call('EXISTS', KEYS[1]) == 1 then others().expire(1, now + ARGV[7]) end
  return {KEYS[1], token, 'read', at}
end
if mode == 'drop_keys' then -- ARGV 4- ids
  for i = 4, #ARGV do call('HDEL', KEYS[1], ARGV[i]) end
  return {KEYS[1], token, 'read', at}
end
