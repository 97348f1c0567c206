-- The script of the store. Each request that must be atomic is one of its modes. requests.py has the rules.
--
-- KEYS  1 state  2 prev  3 turns  4 audit  5 tokens  6 due     (layout.py has the table of keys)
--       7-12 their places in quarantine, 13 the list of these places (set_aside only)
-- ARGV  1 mode  2 token (of a commit; else the name of the mode)  3 shift of the clock in seconds  4- of the mode
--
-- Every reply starts with KEYS[1] and ARGV[2], so that a client recognises its own. Documents, entries and records are
-- opaque bytes, because cjson would break big integers and empty lists. Only redis.call is used, because pcall can
-- report a false success. Lua has no rollback, so all commands that can fail precede the first write. The server may
-- refuse the first write for lack of memory; after it, it refuses nothing more.

local call = redis.call
local mode, token = ARGV[1], ARGV[2]
local time = call('TIME')
local now = time[1] + time[2] / 1000000 + ARGV[3]
local at = string.format('%.6f', now)

-- The head in the audit: that of the latest entry with a frame ("<version> <digest> @<at> <body>"), with a version more
-- for each damaged entry after it. Nothing if a list of them has no frame at its end.
local function audited()
  for damaged = 0, 15 do
    local latest = call('LINDEX', KEYS[4], -1 - damaged)
    if not latest and damaged == 0 then return '0', '' end
    local version, digest = string.match(latest or '', '^(%d+) (%w*) ')
    if version then return damaged == 0 and version or string.format('%.0f', version + damaged), digest end
  end
end

-- The head, from the state or, without one, from the audit; and the latest tokens as the state holds them.
local function head()
  local state = call('HMGET', KEYS[1], 'v', 'h', 't')
  if state[1] then
    if not (state[2] and string.match(state[1], '^%d+$')) then error({err = 'WRONGTYPE the state holds no head'}) end
    return state[1], state[2], state[3]
  end
  if call('EXISTS', KEYS[1]) == 1 then error({err = 'WRONGTYPE the state holds no head'}) end
  local version, digest = audited()
  if not version then error({err = 'WRONGTYPE the audit is not framed'}) end
  return version, digest
end

-- The check of a document and its head, as the client makes it.
local function check_of(version, digest, document)
  return string.sub(redis.sha1hex(version .. ' ' .. digest .. ' ' .. document), 1, 16)
end

-- Version, digest of the entry, document, and the check of the three; without a check, as an older release stored it,
-- the number of fields.
local function kept(i)
  local found = call('HMGET', KEYS[i], 'v', 'h', 'd', 'c')
  if not found[4] then found[4] = #call('HGETALL', KEYS[i]) / 2 end
  return found
end

-- The stored data: the same structure for a load and for every commit that is not made.
local function current(status, more)
  local version, digest = head()
  return {KEYS[1], token, status, at, version, digest, kept(1), more}
end

-- The records made under the token ("<token> <root> <content> <body>").
local function records()
  local found = {}
  for _, record in ipairs(call('LRANGE', KEYS[3], 0, -1)) do
    local own, root = string.match(record, '^(%S*) (%S*) ')
    if own == token or root == token then found[#found + 1] = record end
  end
  return found
end

-- The tokens stand a second time in the state, with their instants: damage to one in the set makes no message a new one.
-- Whether the token is used, by these. They count while the set is kept.
local function noted(latest, oldest)
  local _, place = string.find(latest or '', ' ' .. token .. ' ', 1, true)
  local used = place and (tonumber(string.match(latest, '^%S+', place + 1)) or now) > oldest
  return used and call('EXISTS', KEYS[5]) == 1
end

local function note(latest, tokens)
  local words = {}
  for word in string.gmatch((latest or '') .. tokens, '%S+') do words[#words + 1] = word end
  return ' ' .. table.concat(words, ' ', math.max(1, #words - 15)) -- eight tokens
end

-- Let a key end at an instant; with `longer`, unless it ends later already.
local function expire(i, ends, longer)
  if not longer or call('EXPIRETIME', KEYS[i]) < tonumber(ends) then call('EXPIREAT', KEYS[i], ends) end
end

-- Append to a list that is kept by count and by age; a frame is its words, "@<at> " and its body. The oldest frames are
-- dropped: one above the count, and a bounded number of those that are too old. The loop ends at the latest frame,
-- which stays, or at one without a timestamp, whose age is not known. `ends`: when the list ends, unless it is kept for
-- longer already; by default with its latest frame.
local function append(i, words, body, kept, life, most, ends)
  local dropped = math.max(call('RPUSH', KEYS[i], words .. '@' .. at .. ' ' .. body) - kept, 0)
  local dated = words == '' and '^@(%d+%.%d+) ' or '^%d+ %S* @(%d+%.%d+) '
  for _ = 1, most do
    local appended = string.match(call('LINDEX', KEYS[i], dropped), dated)
    if not appended or tonumber(appended) > now - life then break end
    dropped = dropped + 1
  end
  if dropped > 0 then call('LTRIM', KEYS[i], dropped, -1) end
  expire(i, ends or string.format('%.0f', now + life), ends) -- %.14g of tostring would cut digits
end

-- Remember the token of this request, and for how long records and tokens are kept. `records_end`: when the records end,
-- unless they are kept for longer already; by default with the token.
local function use_token(oldest, life, records_end)
  call('ZADD', KEYS[5], at, token)
  local expired = call('ZCOUNT', KEYS[5], '-inf', string.format('%.6f', oldest))
  if expired > 0 then call('ZREMRANGEBYRANK', KEYS[5], 0, math.min(expired, 1000) - 1) end -- the next turn goes on
  local ends = string.format('%.0f', now + life)
  expire(3, records_end or ends, records_end)
  call('EXPIREAT', KEYS[5], ends)
end

-- ARGV 4 version  5 digest  6 not after or ''  7 seconds a token lives, then to remember a message without a turn:
--      8 record  9 records kept  10 records kept of messages without a turn, which have an empty root
--      or for a commit:
--      8 new version  9 new digest  10 document  11 record  12 audit entry  13 wake-up or ''  14 member
--      15 seconds a document lives  16 records kept  17 entries kept  18 seconds they live  19 most too old to drop
--      20 '1' to forget the document before, or ''  21 '1' if the member is a stranger, or ''
--      22 check of version, digest and document
--      23 number of inherited tokens; each with its instant, then the inherited records
if mode == 'commit' or mode == 'remember' or mode == 'verify' then
  local oldest = now - ARGV[7]
  local used = call('ZSCORE', KEYS[5], token)
  local version, digest, latest = head()
  if used and tonumber(used) > oldest or noted(latest, oldest) then
    -- A write, because a following WAIT only waits for writes of its own connection.
    local left = call('PTTL', KEYS[5])
    if left > 0 then call('PEXPIRE', KEYS[5], left) end
    return current('duplicate', records())
  end
  if version ~= ARGV[4] or digest ~= ARGV[5] then return current('conflict') end
  if ARGV[6] ~= '' and now > tonumber(ARGV[6]) then return current('late') end

  call('HSTRLEN', KEYS[2], 'd') -- to check their types: after the first write a wrong one is found too late
  call('LLEN', KEYS[3])
  call('LLEN', KEYS[4])
  if ARGV[13] and (ARGV[13] ~= '' or ARGV[21] ~= '') then call('ZCARD', KEYS[6]) end
  if mode == 'verify' then return {KEYS[1], token, 'committed', at} end
  if mode == 'remember' then
    call('RPUSH', KEYS[3], ARGV[8]) -- the first write, which may be refused for lack of memory
    local found, kept, without_turn = call('LRANGE', KEYS[3], 0, -1), {}, 0
    for i = #found, 1, -1 do
      local is_turn = not string.match(found[i], '^%S*  ')
      if not is_turn then without_turn = without_turn + 1 end
      if is_turn or without_turn <= tonumber(ARGV[10]) then table.insert(kept, 1, found[i]) end
    end
    if #kept < #found then
      call('DEL', KEYS[3])
      for i = 1, #kept do call('RPUSH', KEYS[3], kept[i]) end
    end
    call('LTRIM', KEYS[3], -ARGV[9], -1)
    use_token(oldest, ARGV[7])
    return {KEYS[1], token, 'committed', at}
  end

  call('COPY', KEYS[1], KEYS[2], 'REPLACE') -- if this is not refused for lack of memory, no later write is
  local after = 23 + 2 * ARGV[23]
  local fields = {'v', ARGV[8], 'h', ARGV[9], 'd', ARGV[10], 'c', ARGV[22]}
  if ARGV[21] == '' then
    local inherited = table.concat(ARGV, ' ', math.max(24, after - 15), after)
    fields[9], fields[10] = 't', note(latest, ' ' .. inherited .. ' ' .. token .. ' ' .. at)
  end
  call('HSET', KEYS[1], unpack(fields))
  for i = 24, after, 2 do call('ZADD', KEYS[5], 'NX', ARGV[i + 1], ARGV[i]) end
  for i = after + 1, #ARGV do call('RPUSH', KEYS[3], ARGV[i]) end
  if ARGV[11] ~= '' and call('RPUSH', KEYS[3], ARGV[11]) > tonumber(ARGV[16]) then
    call('LTRIM', KEYS[3], -ARGV[16], -1)
  end
  local document_ends = string.format('%.0f', now + ARGV[15])
  local stranger_ends = ARGV[21] ~= '' and document_ends
  append(4, ARGV[8] .. ' ' .. ARGV[9] .. ' ', ARGV[12], ARGV[17], ARGV[18], ARGV[19], stranger_ends)
  use_token(oldest, ARGV[7], stranger_ends)
  if ARGV[13] ~= '' then
    call('ZADD', KEYS[6], 'LT', ARGV[13], ARGV[14])
  elseif stranger_ends then
    call('ZREM', KEYS[6], ARGV[14])
  end
  if ARGV[20] ~= '' then call('DEL', KEYS[2]) end

  call('EXPIREAT', KEYS[1], document_ends)
  call('EXPIREAT', KEYS[2], document_ends)
  return {KEYS[1], token, 'committed', at}
end

if mode == 'load' then return current('stored') end
if mode == 'load_previous' then return current('stored', kept(2)) end
if mode == 'records' then return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[3], 0, -1)} end
if mode == 'audit' then return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[4], ARGV[4], ARGV[5])} end
if mode == 'drop_oldest' then -- ARGV 4 entries to drop  5 version  6 digest of the next one  7 seconds it lives or ''
  local version, digest = string.match(call('LINDEX', KEYS[4], ARGV[4]) or '', '^(%d+) (%S*) ')
  local is_next = version == ARGV[5] and digest == ARGV[6]
  if is_next and ARGV[7] ~= '' then call('EXPIREAT', KEYS[4], string.format('%.0f', now + ARGV[7])) end
  if is_next then call('LTRIM', KEYS[4], ARGV[4], -1) end
  return {KEYS[1], token, 'read', at, is_next and 1 or 0}
end
if mode == 'inherit' then
  local tokens = call('ZRANGE', KEYS[5], ARGV[4], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[5], 'WITHSCORES')
  return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[3], 0, -1), tokens}
end
if mode == 'use_tokens' then -- ARGV 4 seconds a token lives  5- tokens, each with its instant
  local kind = call('TYPE', KEYS[5]).ok
  if kind ~= 'zset' and kind ~= 'none' then return {KEYS[1], token, 'read', at, 0} end
  for i = 5, #ARGV, 2 do call('ZADD', KEYS[5], 'NX', ARGV[i + 1], ARGV[i]) end
  call('EXPIREAT', KEYS[5], string.format('%.0f', now + ARGV[4]))
  return {KEYS[1], token, 'read', at, 1}
end

-- ARGV 4 the bytes of the document or ''  5 those in their place  6 the bytes as they are packed
--      7-9 the same of the document before  10- records and those in their place
if mode == 'rewrite' then
  local records, rewritten = call('LRANGE', KEYS[3], 0, -1), 0
  for i = 1, 2 do
    local old, new, packed = ARGV[1 + 3 * i], ARGV[2 + 3 * i], ARGV[3 + 3 * i]
    local found = call('HMGET', KEYS[i], 'v', 'h', 'd')
    if old ~= '' and found[1] and found[2] and (found[3] == old or found[3] == packed) then
      call('HSET', KEYS[i], 'd', new, 'c', check_of(found[1], found[2], new))
      rewritten = rewritten + 1
    end
  end
  for i = 10, #ARGV, 2 do
    for place, record in ipairs(records) do
      if record == ARGV[i] then
        call('LSET', KEYS[3], place - 1, ARGV[i + 1])
        rewritten = rewritten + 1
      end
    end
  end
  return {KEYS[1], token, 'read', at, rewritten}
end

-- The only key of these modes is that of the keys of a member's own.
if mode == 'keys' then return {KEYS[1], token, 'read', at, call('HGETALL', KEYS[1])} end
if mode == 'keep_key' then -- ARGV 4 id  5 key  6 '1' to keep it only in place of one with the same id, or ''
  if ARGV[6] == '' or call('HEXISTS', KEYS[1], ARGV[4]) == 1 then call('HSET', KEYS[1], ARGV[4], ARGV[5]) end
  return {KEYS[1], token, 'read', at}
end
if mode == 'drop_keys' then -- ARGV 4- ids
  for i = 4, #ARGV do call('HDEL', KEYS[1], ARGV[i]) end
  return {KEYS[1], token, 'read', at}
end

-- KEYS of these modes: the names of a channel's entry in the index, the current one first, then those of the entry of its
-- address without an account, for a channel with one. An entry under an earlier name is moved to the current one; RENAME
-- is not refused for lack of memory.
local function entry(first, last)
  for i = first, last do
    local found = call('GET', KEYS[i])
    if found and i > first then call('RENAME', KEYS[i], KEYS[first]) end
    if found then return found end
  end
  return false
end

local function owner(names)
  local own = entry(1, names)
  if own or names == #KEYS then return {KEYS[1], token, 'read', at, own, 1} end
  local other = entry(names + 1, #KEYS)
  return {KEYS[1], token, 'read', at, other, other and 0 or 1}
end

if mode == 'look_up' then return owner(tonumber(ARGV[4])) end -- ARGV 4 number of names of the channel's own entry
if mode == 'link' then -- ARGV 4 member  5 the owner that it replaces, if any; KEYS: names of the channel's own entry
  local found = entry(1, #KEYS)
  if found and found ~= ARGV[5] then return {KEYS[1], token, 'read', at, found} end
  call('SET', KEYS[1], ARGV[4])
  return {KEYS[1], token, 'read', at, ARGV[4]}
end
if mode == 'free' then -- ARGV 4 member  KEYS: one entry; one of another type leads to no member
  local kind = call('TYPE', KEYS[1]).ok
  local freed = kind == 'none' or (kind == 'string' and call('GET', KEYS[1]) == ARGV[4]) -- none: its reply was lost
  if freed then call('DEL', KEYS[1]) end
  return {KEYS[1], token, 'read', at, freed and 1 or 0}
end
if mode == 'unlink' then -- ARGV 4 number of names of the channel's own entry  5 member
  for i = 1, #KEYS do
    if call('GET', KEYS[i]) == ARGV[5] then call('DEL', KEYS[i]) end
  end
  return owner(tonumber(ARGV[4]))
end
if mode == 'index' then -- ARGV 4 the record that is replaced, or ''  5 the new record
  local found = call('GET', KEYS[1]) or ''
  if found ~= ARGV[4] then return {KEYS[1], token, 'read', at, found} end
  if found ~= ARGV[5] then call('SET', KEYS[1], ARGV[5]) end
  return {KEYS[1], token, 'read', at, ARGV[5]}
end

-- The only key of these modes is that of the owner of the store; of the first also that of another record of it.
if mode == 'owner' then return {KEYS[1], token, 'read', at, call('GET', KEYS[1])} end
if mode == 'claim' then -- ARGV 4 the owner to replace or ''  5 the owner or '' for none
  local found = call('GET', KEYS[1])
  if (found or '') == ARGV[4] then
    found = ARGV[5] ~= '' and ARGV[5]
    if found then call('SET', KEYS[1], found) else call('DEL', KEYS[1]) end
  end
  return {KEYS[1], token, 'read', at, found}
end

-- The only key of these modes is a due set or lease of a shard, or the set of workers.
if mode == 'wake_ups' then -- ARGV 4 until or ''  5 most
  local last = ARGV[4] == '' and at or ARGV[4]
  return {KEYS[1], token, 'read', at, call('ZRANGE', KEYS[1], '-inf', last, 'BYSCORE', 'LIMIT', 0, ARGV[5])}
end

if mode == 'lease' then -- ARGV 4 worker  5 milliseconds, 0 to return the lease  6 milliseconds of the longest one
  local owner = call('GET', KEYS[1])
  if owner and owner ~= ARGV[4] and call('PTTL', KEYS[1]) <= tonumber(ARGV[6]) then
    return {KEYS[1], token, 'read', at, owner}
  end
  if ARGV[5] == '0' then
    call('DEL', KEYS[1])
    return {KEYS[1], token, 'read', at, false}
  end
  call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
  return {KEYS[1], token, 'read', at, ARGV[4]}
end
if mode == 'attend' then -- ARGV 4 worker  5 seconds, 0 to leave  6 seconds of the longest presence
  call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[5]), ARGV[4])
  call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at)
  call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.6f', now + ARGV[6]), '+inf')
  return {KEYS[1], token, 'read', at, call('ZRANGE', KEYS[1], 0, -1)}
end

-- Damage to keys that belong to no single member: a due set, a lease, the set of workers, an entry of the index.
-- KEYS the damaged keys, then their places in quarantine; without places they are deleted
-- ARGV 4 number of keys  5 their type  6 seconds that quarantined keys live  7- the damaged entries
if mode == 'set_aside_shared' then
  local ends = string.format('%.0f', now + ARGV[6])
  for i = 1, tonumber(ARGV[4]) do
    local kind, to = call('TYPE', KEYS[i]).ok, ARGV[4] + i
    local whole = kind ~= 'none' and kind ~= ARGV[5]
    for j = 7, #ARGV do
      if kind == 'string' and call('GET', KEYS[i]) == ARGV[j] then whole = true end
      local score = kind == 'zset' and not whole and call('ZSCORE', KEYS[i], ARGV[j])
      if score then
        if KEYS[to] then
          call('ZADD', KEYS[to], score, ARGV[j])
          call('EXPIREAT', KEYS[to], ends)
        end
        call('ZREM', KEYS[i], ARGV[j])
      end
    end
    if whole and KEYS[to] then
      call('RENAME', KEYS[i], KEYS[to])
      call('EXPIREAT', KEYS[to], ends)
    elseif whole then
      call('UNLINK', KEYS[i])
    end
  end
  return {KEYS[1], token, 'read', at}
end

-- A due set of another type is the damage of its shard, not of the member that meets it. The empty entry in the new set
-- is damage too: the worker that reads it reports it and wakes all members of the shard, whose entries are lost.
if mode == 'renew_due' then -- KEYS a due set and its place in quarantine  ARGV 4 seconds that quarantined keys live
  local kind = call('TYPE', KEYS[1]).ok
  if kind == 'zset' or kind == 'none' then return {KEYS[1], token, 'read', at, 0} end
  call('RENAME', KEYS[1], KEYS[2])
  call('EXPIREAT', KEYS[2], string.format('%.0f', now + ARGV[4]))
  call('ZADD', KEYS[1], 0, '')
  return {KEYS[1], token, 'read', at, 1}
end

-- KEYS of these modes: a list of incidents, and its place in quarantine, where it goes if it is no list
if mode == 'report' then -- ARGV 4 incident  5 incidents kept  6 seconds they live  7 most too old to drop
  local kind = call('TYPE', KEYS[1]).ok --  8 seconds that quarantined keys live
  if kind ~= 'list' and kind ~= 'none' then
    call('RENAME', KEYS[1], KEYS[2])
    call('EXPIREAT', KEYS[2], string.format('%.0f', now + ARGV[8]))
  end
  local latest = call('LINDEX', KEYS[1], -1)
  if not latest or string.gsub(latest, '^@%d+%.%d+ ', '') ~= ARGV[4] then -- otherwise its first reply was lost
    append(1, '', ARGV[4], ARGV[5], ARGV[6], ARGV[7])
  end
  return {KEYS[1], token, 'read', at}
end
if mode == 'incidents' then return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[1], ARGV[4], ARGV[5])} end

-- The keys of the following modes may have any type. TYPE is the only read that cannot fail.
local TYPES = {'hash', 'hash', 'list', 'list', 'zset'}
local NAMES = {'state', 'prev', 'turns', 'audit', 'tokens'}

local function fault(i)
  local kind = call('TYPE', KEYS[i]).ok
  if kind == 'none' then return nil end
  if kind ~= TYPES[i] then return NAMES[i] .. ' is a ' .. kind .. ', not a ' .. TYPES[i] end
  if i < 3 then
    local version, digest, document, check = unpack(kept(i))
    if not (version and digest and string.match(version .. ' ' .. digest, '^%d+ %w*$')) then
      return NAMES[i] .. ' holds no head'
    end
    if not document or check ~= 3 and check ~= check_of(version, digest, document) then
      return NAMES[i] .. ' is not what was written'
    end
  end
  if i == 4 and not audited() then return 'audit is not framed' end
end

local function sound_head()
  if call('EXISTS', KEYS[1]) == 1 and not fault(1) then return head() end
  if fault(4) then return '0', '' end
  return audited()
end

if mode == 'settle' then -- ARGV 4 version  5 digest  6 wake-up or ''  7 member
  local version, digest = sound_head()
  if version == ARGV[4] and digest == ARGV[5] then
    if ARGV[6] == '' then call('ZREM', KEYS[6], ARGV[7]) else call('ZADD', KEYS[6], ARGV[6], ARGV[7]) end
  end
  return {KEYS[1], token, 'read', at}
end

if mode == 'inspect' then
  local faults = {}
  for i = 1, 5 do faults[#faults + 1] = fault(i) end
  local version, digest = sound_head()
  local previous = not fault(2) and kept(2)[3]
  local document = call('TYPE', KEYS[1]).ok == 'hash' and kept(1)[3]
  return {KEYS[1], token, 'broken', at, version, digest, table.concat(faults, '; '), previous, document}
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
-- ARGV 4 version  5 digest  6 new version  7 new digest  8 audit entry  9 entries kept  10 seconds they live
--      11 most too old to drop  12 member
if mode == 'wipe' then
  local version, digest = head()
  if digest == ARGV[7] then return {KEYS[1], token, 'committed', at} end -- it was made before, and its reply lost
  if not (version == ARGV[4] and digest == ARGV[5]) then return current('conflict') end
  if #asides(7) ~= #KEYS - 7 then return current('conflict') end
  call('ZCARD', KEYS[6])
  append(4, ARGV[6] .. ' ' .. ARGV[7] .. ' ', ARGV[8], ARGV[9], ARGV[10], ARGV[11])
  call('ZREM', KEYS[6], ARGV[12])
  call('UNLINK', KEYS[1], KEYS[2], KEYS[3], unpack(KEYS, 7))
  return {KEYS[1], token, 'committed', at}
end

-- KEYS 7 the incidents of the member
-- ARGV 4 first version  5 last version  6 tombstone  7 '1' to remove all else of the member, or ''  8 member
if mode == 'erase' then
  if ARGV[7] ~= '' and call('EXISTS', KEYS[1]) == 1 then return current('conflict') end
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
    call('UNLINK', KEYS[2], KEYS[3], KEYS[5], KEYS[7])
    call('ZREM', KEYS[6], ARGV[8])
  end
  return {KEYS[1], token, 'erased', at, erased}
end

-- ARGV 4 version  5 digest  6 seconds that quarantined keys live. Keys of a wrong type are moved on any head, because
-- they cannot be read; a document only on the head on which it was found damaged. The head continues from the audit.
if mode == 'set_aside' then
  local version, digest = sound_head()
  local ends = string.format('%.0f', now + ARGV[6])
  local function move(i)
    call('RENAME', KEYS[i], KEYS[i + 6])
    call('EXPIREAT', KEYS[i + 6], ends)
    if not names_asides(13) then return end
    call('ZADD', KEYS[13], ends, KEYS[i + 6])
    call('ZREMRANGEBYSCORE', KEYS[13], '-inf', at)
    call('EXPIREAT', KEYS[13], ends)
  end
  local moved = false
  for i = 1, 5 do
    if fault(i) then
      move(i)
      moved = true
    end
  end
  if not moved and version == ARGV[4] and digest == ARGV[5] and call('EXISTS', KEYS[1]) == 1 then move(1) end
  return current(call('EXISTS', KEYS[1]) == 0 and 'stored' or 'conflict')
end

return redis.error_reply('ERR the store knows no mode ' .. mode)
