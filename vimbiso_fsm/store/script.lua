-- The script of the store. Each request that must be atomic is one of its modes. requests.py has the rules.
--
-- KEYS  1 state  2 prev  3 turns  4 audit  5 tokens  6 due     (layout.py has the table of keys; 2 and 3 of layout 2)
--       7-12 their places in quarantine, 13 the list of these places (set_aside only)
-- ARGV  1 mode  2 token (of a commit, then its tokens of other keys; else the name of the mode)  3 shift of the clock in seconds  4- of the mode
--
-- script.py writes the constants of retention.py, in capitals, before the first line.
--
-- Every reply starts with KEYS[1] and the token, so that a client recognises its own. Documents, entries and records are
-- opaque bytes, because cjson would break big integers and empty lists. Only redis.call is used, because pcall can
-- report a false success. Lua has no rollback, so all commands that can fail precede the first write. The server may
-- refuse the first write for lack of memory, unless it frees some; after it, it refuses nothing more.

local KEYS, ARGV, call, apart = KEYS, ARGV, redis.call, {}

local function try_again()
  error({err = 'TRYAGAIN a key is missing at the old node of a slot, which makes none while it hands the slot over'})
end

-- A request whose slot a cluster hands over to another node (handover.py): only those of its keys that are at this node are
-- KEYS. ARGV 2 'source' or 'goal'  3 number of its keys  4- these keys, then the words of the request
-- The other keys are at neither node, or are not used. The source may not even look at them: here they read as empty.
if ARGV[1] == 'apart' then
  local named, words, here, last = {}, {}, {}, 3 + ARGV[3]
  local EMPTY = {
    GET = false, LINDEX = false, ZSCORE = false, LLEN = 0, ZCOUNT = 0, PTTL = -2, LRANGE = {}, ZRANGE = {},
    TYPE = {ok = 'none'},
  }
  for _, key in ipairs(KEYS) do here[key] = true end
  for i = 4, last do
    named[i - 3] = ARGV[i]
    apart[ARGV[i]] = ARGV[2] == 'source' and not here[ARGV[i]]
  end
  for i = last + 1, #ARGV do words[i - last] = ARGV[i] end
  KEYS, ARGV = named, words
  call = function(command, ...)
    local is_apart = apart[... or '']
    if command == 'RENAME' or is_apart and EMPTY[command] == nil then try_again() end
    if is_apart then return EMPTY[command] end
    return redis.call(command, ...)
  end
end

local mode, token, earlier = ARGV[1], ARGV[2], {}
if string.find(token, ' ', 1, true) then
  for other in string.gmatch(token, ' (%S+)') do earlier[#earlier + 1] = other end
  token = string.match(token, '^%S+')
end
local time = call('TIME')
local now = time[1] + time[2] / 1000000 + ARGV[3]
local at = string.format('%.6f', now)
local oldest = now - TOKEN_KEPT -- a token that was used then or earlier is forgotten

-- An instant in seconds; %.14g of tostring would cut digits.
local function whole(instant)
  return string.format('%.0f', math.ceil(instant))
end

-- The head in the audit: that of the latest entry with a frame ("<version> <digest> @<at> <body>"), with a version more
-- for each damaged entry after it. Nothing if a list of them has no frame at its end.
local function audited()
  for damaged = 0, 15 do
    local latest = call('LINDEX', KEYS[4], -1 - damaged)
    if not latest and damaged == 0 then return '0', '' end
    local version, digest = string.match(latest or '', '^(%d+) ([%w_-]*) ')
    if version then return damaged == 0 and version or string.format('%.0f', version + damaged), digest end
  end
end

-- The check of a document and its head, as the client makes it.
local function check_of(version, digest, document)
  return string.sub(redis.sha1hex(version .. ' ' .. digest .. ' ' .. document), 1, 16)
end

-- Let a key end at an instant, unless it ends later already.
local function expire(i, instant)
  local ends = whole(instant)
  if call('EXPIRETIME', KEYS[i]) < tonumber(ends) then call('EXPIREAT', KEYS[i], ends) end
end

-- The places of records in the state: of turns, and of messages without a turn. Each is a ring.
local function turn_field(number) return 'r' .. number % RECORDS_KEPT end
local function untaken_field(number) return 'q' .. number % UNTAKEN_KEPT end

-- Bring what layout 2 stored, in keys of its own, to the fields of the state. Return whether anything was there. The
-- types of the keys are looked at first, and the first write frees memory, so that a full server answers a load.
local function convert(v, h, d, c, t)
  local fields, turns, untaken, ends = {}, 0, 0, call('EXPIRETIME', KEYS[1])
  local function keep(field, value) fields[#fields + 1], fields[#fields + 2] = field, value end
  local is_stored = ends ~= -2
  if is_stored and not v then return false end
  local of_previous, of_records = call('TYPE', KEYS[2]).ok, call('TYPE', KEYS[3]).ok
  if not is_stored and of_previous == 'none' and of_records == 'none' then return false end
  if string.match(t or '', '^ .*%S$') then keep('t', t .. ' ') end
  if h and d and not c and call('HLEN', KEYS[1]) == 3 then keep('c', check_of(v, h, d)) end -- of the time without checks
  if of_previous == 'hash' then
    local before = call('HMGET', KEYS[2], 'v', 'h', 'd', 'c')
    if before[1] and before[2] and before[3] then
      local check = before[4] or check_of(before[1], before[2], before[3])
      keep('p', before[1] .. ' ' .. before[2] .. ' ' .. check .. ' ' .. before[3])
    end
    ends = math.max(ends, call('EXPIRETIME', KEYS[2]))
  end
  if of_records == 'list' then
    for _, record in ipairs(call('LRANGE', KEYS[3], 0, -1)) do
      if string.match(record, '^%S*  ') then
        keep(untaken_field(untaken), record)
        untaken = untaken + 1
      else
        keep(turn_field(turns), record)
        turns = turns + 1
      end
    end
    ends = math.max(ends, call('EXPIRETIME', KEYS[3]))
  end
  if not is_stored and #fields == 0 then return false end
  keep('m', turns .. ' ' .. untaken .. ' ' .. whole(math.max(ends, 0)))
  if of_previous == 'hash' then call('UNLINK', KEYS[2]) end
  if of_records == 'list' then call('UNLINK', KEYS[3]) end
  call('HSET', KEYS[1], unpack(fields))
  if ends > 0 then call('EXPIREAT', KEYS[1], whole(ends)) end
  return true
end

-- The fields of the state: version, digest, document and check; the latest tokens; the numbers of records so far of
-- turns and of messages without one, and the instant at which the state ends; the replies of its outbox that were sent.
local function read_state()
  local f = call('HMGET', KEYS[1], 'v', 'h', 'd', 'c', 't', 'm', 's')
  local turns, untaken, ends = string.match(f[6] or '', '^(%d+) (%d+) (%d+)$')
  if not turns and convert(f[1], f[2], f[3], f[4], f[5]) then return read_state() end
  return {
    v = f[1], h = f[2], d = f[3], c = f[4], tokens = f[5], sent = f[7], is_kept = turns ~= nil,
    turns = tonumber(turns or 0), untaken = tonumber(untaken or 0), ends = tonumber(ends or 0),
  }
end

-- Whether the state holds a document, or a part of one.
local function holds_document(state) return state.v or state.h or state.d or state.c end

-- The head, from the state or, without a document, from the audit.
local function head(state)
  if holds_document(state) or not state.is_kept and call('EXISTS', KEYS[1]) == 1 then
    if state.h and string.match(state.v or '', '^%d+$') then return state.v, state.h end
    error({err = 'WRONGTYPE the state holds no head'})
  end
  local version, digest = audited()
  if not version then error({err = 'WRONGTYPE the audit is not framed'}) end
  return version, digest
end

-- The stored data: the same structure for a load and for every commit that is not made.
local function current(status, state, more)
  local version, digest = head(state)
  return {KEYS[1], token, status, at, version, digest, {state.v, state.h, state.d, state.c, state.sent}, more}
end

-- All records, oldest first, then those of messages without a turn.
local function all_records(state)
  local fields, found = {}, {}
  for i = 0, RECORDS_KEPT - 1 do fields[#fields + 1] = turn_field(state.turns + i) end
  for i = 0, UNTAKEN_KEPT - 1 do fields[#fields + 1] = untaken_field(state.untaken + i) end
  for _, record in ipairs(call('HMGET', KEYS[1], unpack(fields))) do
    if record then found[#found + 1] = record end
  end
  return found
end

-- The records made under the tokens ("<token> <root> <content> <body>"; the root is "=" if it is the token).
local function records(state)
  local found, mine = {}, {[token] = true}
  for _, other in ipairs(earlier) do mine[other] = true end
  for _, record in ipairs(all_records(state)) do
    local own, root = string.match(record, '^(%S*) (%S*) ')
    if own and (mine[own] or mine[root]) then found[#found + 1] = record end
  end
  return found
end

-- Whether a token is used. The latest tokens stand twice in the state (" token at token at … "), so that damage to one
-- makes no message a new one; earlier ones, and those of strangers, are in the set. Where the state is lost or its tokens
-- are damaged, the records and the audit name the latest.
local function is_used(used, state, version)
  local score = call('ZSCORE', KEYS[5], used)
  if score and tonumber(score) > oldest then return true end
  local place = 1
  while state.tokens do
    local _, found = string.find(state.tokens, ' ' .. used .. ' ', place, true)
    if not found then break end
    if (tonumber(string.match(state.tokens, '^%d+', found + 1)) or now) > oldest then return true end
    place = found
  end
  if state.is_kept then
    local is_whole = string.sub(state.tokens or '', 1, 1) == ' '
    return not is_whole and state.turns > 0 and #records(state) > 0
  end
  if version == '0' then return false end
  for _, frame in ipairs(call('LRANGE', KEYS[4], -RECORDS_KEPT, -1)) do
    if string.find(frame, '"token":"' .. used .. '"', 1, true) then
      if tonumber(string.match(frame, '^%S* %S* @(%d+%.%d+) ') or now) > oldest then return true end
    end
  end
  return false
end

-- Whether one of the tokens of a commit is used.
local function is_taken(state, version)
  if is_used(token, state, version) then return true end
  for _, other in ipairs(earlier) do
    if is_used(other, state, version) then return true end
  end
end

-- Remember tokens in the set: a list of instants, each with its token. What is expired is dropped by and by.
local function use_in_set(tokens, option)
  if #tokens == 0 then return end
  if option then table.insert(tokens, 1, option) end
  call('ZADD', KEYS[5], unpack(tokens))
  expire(5, now + TOKEN_KEPT)
end

-- A list as `use_in_set` takes it, with the tokens of other keys.
local function with_earlier(tokens)
  for _, other in ipairs(earlier) do tokens[#tokens + 1], tokens[#tokens + 2] = whole(now), other end
  return tokens
end

local function drop_tokens()
  local expired = call('ZCOUNT', KEYS[5], 0, string.format('%.6f', oldest))
  if expired > 0 then
    local first = call('ZCOUNT', KEYS[5], '-inf', '(0')
    call('ZREMRANGEBYRANK', KEYS[5], first, first + math.min(expired, TOKENS_AT_ONCE) - 1) -- the next turn goes on
  end
end

-- The tokens that the state holds, without the latest ones, as `use_in_set` takes them; and the text of the latest.
local function parted(tokens, latest)
  local pairs_of, moved = {}, {}
  for used, instant in string.gmatch(tokens or '', '(%S+) ([%d.]+) ') do pairs_of[#pairs_of + 1] = {instant, used} end
  local first = math.max(#pairs_of - 2 * latest, 0)
  for i = 1, first do moved[#moved + 1], moved[#moved + 2] = pairs_of[i][1], pairs_of[i][2] end
  local words = {''}
  for i = first + 1, #pairs_of do words[#words + 1] = pairs_of[i][2] .. ' ' .. pairs_of[i][1] end
  return moved, table.concat(words, ' ') .. ' '
end

-- The latest tokens of a state, and with the own token of this request. A worker of layout 2 left no space at the end.
-- Those of other keys are in the set, if it is here.
local function latest(state)
  local tokens = state.tokens or ' '
  return string.sub(tokens, -1) == ' ' and tokens or tokens .. ' '
end

local function with_own(tokens)
  local used = token .. ' ' .. whole(now) .. ' '
  tokens = tokens .. used .. used
  if apart[KEYS[5]] then
    for _, other in ipairs(earlier) do tokens = tokens .. other .. ' ' .. whole(now) .. ' ' end
  end
  return tokens
end

-- Drop frames from the old end of a list that is kept by age, a bounded number of them. It ends at the latest frame, which
-- stays, or at one without a timestamp, whose age is not known.
local function drop_expired(i, dated)
  local dropped = 0
  for _, frame in ipairs(call('LRANGE', KEYS[i], 0, EXPIRED_AT_ONCE - 1)) do
    local appended = string.match(frame, dated)
    if not appended or tonumber(appended) > now - AUDIT_LIFE then break end
    dropped = dropped + 1
  end
  if dropped > 0 then call('LTRIM', KEYS[i], dropped, -1) end
end

local OF_ENTRIES, OF_INCIDENTS = '^%d+ %S* @(%d+%.%d+) ', '^@(%d+%.%d+) '

-- Append a frame, which is its words, "@<at> " and its body, to a list that is kept by count; return its length.
local function append(i, words, body, kept)
  local length = call('RPUSH', KEYS[i], words .. '@' .. at .. ' ' .. body)
  if length > kept then call('LTRIM', KEYS[i], length - kept, -1) end
  return length
end

-- ARGV 4 version  5 digest  6 not after or ''; then to remember a message without a turn:
--      7 record, whose root is empty
--      or for a commit:
--      7 new version  8 new digest  9 check of version, digest and document  10 document  11 record or ''
--      12 audit entry  13 wake-up or ''  14 member  15 seconds a document lives
--      16 '' or 'f' to forget the document before, 's' if the member is a stranger, of whom none is kept
--      17 number of inherited tokens, or nothing; each with its instant, then the inherited records
if mode == 'commit' or mode == 'remember' or mode == 'verify' then
  local state = read_state()
  local version, digest = head(state)
  if is_taken(state, version) then
    for i = 1, 5, 4 do -- a write, because a following WAIT only waits for writes of its own connection
      local left = call('PTTL', KEYS[i])
      if left > 0 then
        call('PEXPIRE', KEYS[i], left)
        break
      end
    end
    return current('duplicate', state, records(state))
  end
  if version ~= ARGV[4] or digest ~= ARGV[5] then return current('conflict', state) end
  if ARGV[6] ~= '' and now > tonumber(ARGV[6]) then return current('late', state) end
  if mode ~= 'commit' then call('LLEN', KEYS[4]) end -- for its type alone: a commit writes to it first
  if mode == 'verify' then return {KEYS[1], token, 'committed', at} end
  local has_set = not apart[KEYS[5]] -- otherwise the tokens stay in the state until a later turn
  if mode == 'remember' then
    local ends = state.is_kept and state.ends or now + TOKEN_KEPT
    local numbers = state.turns .. ' ' .. state.untaken + 1 .. ' ' .. whole(ends)
    call('HSET', KEYS[1], 'm', numbers, untaken_field(state.untaken), ARGV[7])
    if not state.is_kept then call('EXPIREAT', KEYS[1], whole(ends)) end
    if has_set then use_in_set(with_earlier({whole(now), token})) else call('HSET', KEYS[1], 't', with_own(latest(state))) end
    drop_tokens()
    return {KEYS[1], token, 'committed', at}
  end

  if ARGV[17] and not has_set then try_again() end
  local forgets, is_stranger, wake = ARGV[16] ~= '', ARGV[16] == 's', ARGV[13]
  local woken = (wake ~= '' or is_stranger) and call('ZSCORE', KEYS[6], ARGV[14])
  local entries = append(4, ARGV[7] .. ' ' .. ARGV[8] .. ' ', ARGV[12], AUDIT_KEPT) -- refused for memory, or none is

  -- Lives are renewed when they would be too short: about once a day.
  local life = is_stranger and tonumber(ARGV[15]) or math.max(ARGV[15], TOKEN_KEPT)
  local renews = state.ends < now + life
  local ends = renews and whole(now + life + life / 30) or whole(state.ends)

  local turns, untaken, tokens, moved = state.turns, state.untaken, latest(state), {}
  local fields = {'v', ARGV[7], 'h', ARGV[8], 'c', ARGV[9], 'd', ARGV[10]}
  local function keep(field, value) fields[#fields + 1], fields[#fields + 2] = field, value end
  local function keep_record(record)
    if string.match(record, '^%S*  ') then
      keep(untaken_field(untaken), record)
      untaken = untaken + 1
    else
      keep(turn_field(turns), record)
      turns = turns + 1
    end
  end
  local after = 17 + 2 * (ARGV[17] or 0)
  for i = after + 1, #ARGV do keep_record(ARGV[i]) end
  if ARGV[11] ~= '' then keep_record(ARGV[11]) end
  if is_stranger and has_set then
    moved = {whole(now), token}
  else
    tokens = with_own(tokens)
    if ARGV[7] % 4 == 0 and has_set then moved, tokens = parted(tokens, TOKENS_IN_STATE) end
  end
  keep('t', tokens)
  keep('m', turns .. ' ' .. untaken .. ' ' .. ends)
  if state.d and not forgets then keep('p', version .. ' ' .. digest .. ' ' .. state.c .. ' ' .. state.d) end
  call('HSET', KEYS[1], unpack(fields))
  if forgets then call('HDEL', KEYS[1], 'p') end
  if has_set then use_in_set(with_earlier(moved)) end
  if after > 17 then
    local inherited = {}
    for i = 18, after, 2 do inherited[#inherited + 1], inherited[#inherited + 2] = ARGV[i + 1], ARGV[i] end
    use_in_set(inherited, 'NX')
  end
  if wake ~= '' then
    if not woken or tonumber(woken) > tonumber(wake) then call('ZADD', KEYS[6], wake, ARGV[14]) end
  elseif woken then
    call('ZREM', KEYS[6], ARGV[14])
  end
  if renews or entries < 3 then -- an entry that stood alone may have been kept for longer, see `drop_oldest`
    if renews then call('EXPIREAT', KEYS[1], ends) end
    if is_stranger then expire(4, tonumber(ends)) else call('EXPIREAT', KEYS[4], whole(now + AUDIT_LIFE + life / 30)) end
    drop_expired(4, OF_ENTRIES)
    drop_tokens()
  end
  return {KEYS[1], token, 'committed', at}
end

if mode == 'wake' then -- ARGV 4 wake-up or ''  5 member  6 seconds from now before which it is not set; KEYS[6] is here
  local wake = ARGV[4] ~= '' and math.max(ARGV[4], now + ARGV[6])
  local woken = wake and call('ZSCORE', KEYS[6], ARGV[5])
  if wake and (not woken or tonumber(woken) > wake) then
    call('ZADD', KEYS[6], string.format('%.6f', wake), ARGV[5])
  end
  return {KEYS[1], token, 'read', at}
end
if mode == 'load' then return current('stored', read_state()) end
if mode == 'load_previous' then return current('stored', read_state(), call('HGET', KEYS[1], 'p')) end
if mode == 'records' then return {KEYS[1], token, 'read', at, all_records(read_state())} end
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
  return {KEYS[1], token, 'read', at, all_records(state), tokens, state.tokens or ''}
end
if mode == 'use_tokens' then -- ARGV 4- tokens, each with its instant
  local kind = call('TYPE', KEYS[5]).ok
  if kind ~= 'zset' and kind ~= 'none' then return {KEYS[1], token, 'read', at, 0} end
  local used = {}
  for i = 4, #ARGV, 2 do used[#used + 1], used[#used + 2] = ARGV[i + 1], ARGV[i] end
  use_in_set(used, 'NX')
  return {KEYS[1], token, 'read', at, 1}
end

-- ARGV 4 version  5 digest  6 ids  7 the ids that still wait  8 wake-up or ''  9 member; each id has a space after it
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
    call('HSET', KEYS[1], 'c', check_of(state.v, state.h, ARGV[5]))
    rewrite('d', ARGV[5])
  end
  local before, version, digest = previous()
  if ARGV[8] ~= '' and (before == ARGV[8] or before == ARGV[10] or before == ARGV[11]) then
    rewrite('p', version .. ' ' .. digest .. ' ' .. check_of(version, digest, ARGV[9]) .. ' ' .. ARGV[9])
  end
  local places = {}
  for i = 0, RECORDS_KEPT - 1 do places[#places + 1] = turn_field(i) end
  for i = 0, UNTAKEN_KEPT - 1 do places[#places + 1] = untaken_field(i) end
  local found = call('HMGET', KEYS[1], unpack(places))
  for i = 12, #ARGV, 2 do
    for place, record in ipairs(found) do
      if record == ARGV[i] then rewrite(places[place], ARGV[i + 1]) end
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

if mode == 'look_up' then -- ARGV 4 number of names of the channel's own entry  5 a guest who gets it if it has no owner
  local found = owner(tonumber(ARGV[4]))
  if not found[5] and ARGV[5] then
    call('SET', KEYS[1], ARGV[5], 'EX', NAME_LIFE)
    found[5] = ARGV[5]
  elseif found[5] and found[6] == 1 and call('TTL', KEYS[1]) > 0 then
    call('EXPIRE', KEYS[1], NAME_LIFE)
  end
  return found
end
if mode == 'link' then -- ARGV 4 member  5 the owner that it replaces, or ''  6 '1' if the member is a guest, or nothing
  local found = entry(1, #KEYS) -- KEYS: names of the channel's own entry
  if found and found ~= ARGV[4] and found ~= ARGV[5] then return {KEYS[1], token, 'read', at, found} end
  call('SET', KEYS[1], ARGV[4])
  if ARGV[6] then call('EXPIRE', KEYS[1], NAME_LIFE) end
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
if mode == 'index' then -- ARGV 4 the record that is replaced, or ''  5 the new record, in which "@now" stands for this instant and its check
  local found = call('GET', KEYS[1]) or ''
  if found ~= ARGV[4] then return {KEYS[1], token, 'read', at, found} end
  local ended = whole(now)
  local record = string.gsub(ARGV[5], '@now', '@' .. ended .. '.' .. string.sub(redis.sha1hex(ended), 1, 8))
  if found ~= record then call('SET', KEYS[1], record) end
  return {KEYS[1], token, 'read', at, record}
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

if mode == 'lease' then -- ARGV 4 worker  5 milliseconds, 0 to return the lease
  local owner = call('GET', KEYS[1])
  if owner and owner ~= ARGV[4] and call('PTTL', KEYS[1]) <= LONGEST_LEASE * 1000 then
    return {KEYS[1], token, 'read', at, owner}
  end
  if ARGV[5] == '0' then
    call('DEL', KEYS[1])
    return {KEYS[1], token, 'read', at, false}
  end
  call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
  return {KEYS[1], token, 'read', at, ARGV[4]}
end
if mode == 'attend' then -- ARGV 4 worker  5 seconds, 0 to leave
  call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[5]), ARGV[4])
  call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at)
  call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.6f', now + LONGEST_LEASE), '+inf')
  return {KEYS[1], token, 'read', at, call('ZRANGE', KEYS[1], 0, -1)}
end

-- Damage to keys that belong to no single member: a due set, a lease, the set of workers, an entry of the index.
-- KEYS the damaged keys, then their places in quarantine; without places they are deleted
-- ARGV 4 number of keys  5 their type  6- the damaged entries
if mode == 'set_aside_shared' then
  local ends = whole(now + QUARANTINE_LIFE)
  for i = 1, tonumber(ARGV[4]) do
    local kind, to = call('TYPE', KEYS[i]).ok, ARGV[4] + i
    local whole = kind ~= 'none' and kind ~= ARGV[5]
    for j = 6, #ARGV do
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
if mode == 'renew_due' then -- KEYS a due set and its place in quarantine
  local kind = call('TYPE', KEYS[1]).ok
  if kind == 'zset' or kind == 'none' then return {KEYS[1], token, 'read', at, 0} end
  call('RENAME', KEYS[1], KEYS[2])
  call('EXPIREAT', KEYS[2], whole(now + QUARANTINE_LIFE))
  call('ZADD', KEYS[1], 0, '')
  return {KEYS[1], token, 'read', at, 1}
end

-- KEYS of these modes: a list of incidents, and its place in quarantine, where it goes if it is no list
if mode == 'report' then -- ARGV 4 incident
  local kind = call('TYPE', KEYS[1]).ok
  if kind ~= 'list' and kind ~= 'none' then
    call('RENAME', KEYS[1], KEYS[2])
    call('EXPIREAT', KEYS[2], whole(now + QUARANTINE_LIFE))
  end
  local latest = call('LINDEX', KEYS[1], -1)
  if not latest or string.gsub(latest, '^@%d+%.%d+ ', '') ~= ARGV[4] then -- otherwise its first reply was lost
    append(1, '', ARGV[4], INCIDENTS_KEPT)
    drop_expired(1, OF_INCIDENTS)
    call('EXPIREAT', KEYS[1], whole(now + AUDIT_LIFE))
  end
  return {KEYS[1], token, 'read', at}
end
if mode == 'incidents' then return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[1], ARGV[4], ARGV[5])} end

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
  if not state.d or state.c ~= check_of(state.v, state.h, state.d) then return 'state is not what was written' end
end

local function fault_of_previous()
  if call('TYPE', KEYS[1]).ok ~= 'hash' or call('HEXISTS', KEYS[1], 'p') == 0 then return end
  local document, version, digest, check = previous()
  if not document or check ~= check_of(version, digest, document) then return 'prev is not what was written' end
end

-- What is wrong with each of the keys state, prev (a field of the state), audit and tokens, at their places in KEYS.
local function faults()
  local audit = wrong_type(4, 'audit', 'list')
  if not audit and not audited() then audit = 'audit is not framed' end
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
  return audited()
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
  drop_expired(4, OF_ENTRIES)
  call('EXPIREAT', KEYS[4], whole(now + AUDIT_LIFE))
  use_in_set((parted(state.tokens, 0)))
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
