-- Requests about keys that may be damaged, and the removal of what is stored of a member.

-- The keys of the following modes may have any type. TYPE is the only read that cannot fail.
local function wrong_type(i, name, type)
  local kind = call('TYPE', KEYS[i]).ok
  return kind ~= 'none' and kind ~= type and name .. ' is a ' .. kind .. ', not a ' .. type
end

local function fault_of_state()
  local wrong = wrong_type(1, 'state', 'hash')
  if wrong then return wrong end
  local state = read_state()
  if not holds_document(state) and (state.is_kept or call('EXISTS', KEYS[1]) == 0) then return end
  if not string.match((state.v or '') .. ' ' .. (state.h or ' '), '^%d+ [%w_-]*$') then return 'state holds no head' end
  if not state.d or state.c ~= others().check_of(state.v, state.h, state.d) then return 'state is not what was written' end
end

local function fault_of_previous()
  if call('TYPE', KEYS[1]).ok ~= 'hash' or call('HEXISTS', KEYS[1], 'p') == 0 then return end
  local document, version, digest, check = previous()
  if not document or check ~= others().check_of(version, digest, document) then return 'prev is not what was written' end
end

-- What is wrong with each of the keys state, prev (a field of the state), audit and tokens, at their places in KEYS.
local function faults()
  local audit = wrong_type(4, 'audit', 'list')
  if not audit and not others().audited() then audit = 'audit is not framed' end
  return {
    [1] = fault_of_state(), [2] = fault_of_previous(),
    [4] = audit or nil, [5] = wrong_type(5, 'tokens', 'zset') or nil,
  }
end

local function sound_head(found)
  if not found[1] then
    local state = call('EXISTS', KEYS[1]) == 1 and read_state()
    if state and state.v then return state.v, state.h end
  end
  if found[4] then return '0', '' end
  return others().audited()
end

if mode == 'settle' then -- ARGV 4 version  5 digest  6 wake-up or ''  7 member
  local version, digest = sound_head(faults())
  if version == ARGV[4] and digest == ARGV[5] then
    if ARGV[6] == '' then call('ZREM', KEYS[6], ARGV[7]) else call('ZADD', KEYS[6], ARGV[6], ARGV[7]) end
  end
  return {KEYS[1], token, 'read', at}
end

if mode == 'inspect' then
  local found, words = faults(), {}
  for i = 1, 5 do words[#words + 1] = found[i] end
  local version, digest = sound_head(found)
  local is_hash = call('TYPE', KEYS[1]).ok == 'hash'
  local before = is_hash and not found[2] and previous()
  local document = is_hash and call('HGET', KEYS[1], 'd')
  return {KEYS[1], token, 'broken', at, version, digest, table.concat(words, '; '), before or false, document}
end

-- Whether the list of quarantined keys can be used: a sorted set, or none. One of another type names no keys, and a name
-- that is no place in quarantine names none.
local function names_asides(i)
  local kind = call('TYPE', KEYS[i]).ok
  return kind == 'zset' or kind == 'none'
end

local function asides(i)
  local found, own = {}, string.sub(KEYS[i], 1, -2)
  for _, key in ipairs(names_asides(i) and call('ZRANGE', KEYS[i], '(' .. at, '+inf', 'BYSCORE') or {}) do
    local place = string.sub(key, 1, #own) == own and string.sub(key, #own + 1)
    if place and string.match(place, '^:%d+:%d+:%l+$') then found[#found + 1] = key end
  end
  return found
end

if mode == 'asides' then return {KEYS[1], token, 'read', at, asides(1)} end
if mode == 'aside' then
  local kind, found = call('TYPE', KEYS[1]).ok, {}
  if kind == 'hash' then found = call('HGETALL', KEYS[1]) end
  if kind == 'string' then found = {call('GET', KEYS[1])} end
  if kind == 'list' then found = call('LRANGE', KEYS[1], 0, -1) end
  if kind == 'zset' then found = call('ZRANGE', KEYS[1], 0, -1) end
  return {KEYS[1], token, 'read', at, found}
end

-- KEYS 7 the list of quarantined keys, then these keys
-- ARGV 4 version  5 digest  6 new version  7 new digest  8 audit entry  9 member
if mode == 'wipe' then
  local state = read_state()
  local version, digest = head(state)
  if digest == ARGV[7] then return {KEYS[1], token, 'committed', at} end -- it was made before, and its reply lost
  if not (version == ARGV[4] and digest == ARGV[5]) then return current('conflict', state) end
  if #asides(7) ~= #KEYS - 7 then return current('conflict', state) end
  call('ZCARD', KEYS[5]) -- for their types: after the first write a wrong one is found too late
  call('ZCARD', KEYS[6])
  append(4, ARGV[6] .. ' ' .. ARGV[7] .. ' ', ARGV[8], AUDIT_KEPT)
  others().drop_expired(4, OF_ENTRIES)
  call('EXPIREAT', KEYS[4], whole(now + AUDIT_LIFE))
  others().use_in_set((others().parted(state, state.tokens, 0)))
  call('ZREM', KEYS[6], ARGV[9])
  call('UNLINK', KEYS[1], KEYS[2], KEYS[3], unpack(KEYS, 7))
  return {KEYS[1], token, 'committed', at}
end

-- KEYS 7 the incidents of the member
-- ARGV 4 first version  5 last version  6 tombstone  7 '1' to remove all else of the member, or ''  8 member
if mode == 'erase' then
  if ARGV[7] ~= '' then
    local state = read_state()
    if holds_document(state) then return current('conflict', state) end
  end
  local first, last, left = tonumber(ARGV[4]), tonumber(ARGV[5]), call('PTTL', KEYS[4])
  -- The frames from the end of the list down to the first of the range, latest first; the others are not touched.
  local before, after, erased, seen = call('LLEN', KEYS[4]), {}, 0, false
  while before > 0 and not seen do
    local begins = math.max(before - 64, 0)
    local frames = call('LRANGE', KEYS[4], begins, before - 1)
    for i = #frames, 1, -1 do
      local version, words = string.match(frames[i], '^(%d+) (%S* @%d+%.%d+ )')
      if not version then version, words = string.match(frames[i], '^(%d+) (%S* )') end
      seen = version and tonumber(version) < first
      if seen then break end
      before = before - 1
      if not version or tonumber(version) > last then
        after[#after + 1] = frames[i]
      else
        erased = erased + 1
        if erased == 1 then after[#after + 1] = version .. ' ' .. words .. ARGV[6] end
      end
    end
  end
  if erased > 0 then
    if before > 0 then call('LTRIM', KEYS[4], 0, before - 1) else call('UNLINK', KEYS[4]) end
    for i = #after, 1, -1 do call('RPUSH', KEYS[4], after[i]) end
    if left > 0 then call('PEXPIRE', KEYS[4], left) end
  end
  if ARGV[7] ~= '' then
    call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[7])
    call('ZREM', KEYS[6], ARGV[8])
  end
  return {KEYS[1], token, 'erased', at, erased}
end

-- ARGV 4 version  5 digest. What is damaged is moved on any head; a sound document, which the client cannot read, only on
-- the head on which it was found. The head continues from the audit. A server without memory still does it: RENAME is
-- never refused, and fields are deleted before they are written elsewhere.
if mode == 'set_aside' then
  local found, ends = faults(), whole(now + QUARANTINE_LIFE)
  local version, digest = sound_head(found)
  local function name(i)
    call('EXPIREAT', KEYS[i + 6], ends)
    if not names_asides(13) then return end
    call('ZADD', KEYS[13], ends, KEYS[i + 6])
    call('ZREMRANGEBYSCORE', KEYS[13], '-inf', at)
    call('EXPIREAT', KEYS[13], ends)
  end
  local function move(i)
    call('RENAME', KEYS[i], KEYS[i + 6])
    name(i)
  end
  local function move_fields(i, fields)
    local values, moved = call('HMGET', KEYS[1], unpack(fields)), {}
    for place, value in ipairs(values) do
      if value then moved[#moved + 1], moved[#moved + 2] = fields[place], value end
    end
    if #moved == 0 then return end
    call('HDEL', KEYS[1], unpack(fields))
    call('HSET', KEYS[i + 6], unpack(moved))
    name(i)
  end
  local is_moved = next(found) ~= nil
  if found[2] then move_fields(2, {'p'}) end
  if found[1] then
    local is_state = call('TYPE', KEYS[1]).ok == 'hash' and call('HEXISTS', KEYS[1], 'm') == 1
    if is_state then move_fields(1, {'v', 'h', 'd', 'c'}) else move(1) end
  end
  if found[4] then move(4) end
  if found[5] then move(5) end
  local state = read_state()
  if not is_moved and version == ARGV[4] and digest == ARGV[5] and holds_document(state) then
    move_fields(1, {'v', 'h', 'd', 'c'})
    state = read_state()
  end
  return current(holds_document(state) and 'conflict' or 'stored', state)
end

return redis.error_reply('ERR the store knows no mode ' .. mode)
