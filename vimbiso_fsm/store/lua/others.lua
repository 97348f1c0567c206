-- Functions that a usual commit does not need. `others` makes them when one of them is needed first, and returns them by name.

-- The ages of frames: the instants at which entries and incidents were appended.
local OF_ENTRIES, OF_INCIDENTS = '^%d+ %S* @(%d+%.%d+) ', '^@(%d+%.%d+) '

local made
local function others()
  if made then return made end

  -- The places of records in the state: of turns, and of messages without a turn. Each is a ring.
  local function turn_field(number) return 'r' .. number % RECORDS_KEPT end
  local function untaken_field(number) return 'q' .. number % UNTAKEN_KEPT end

  -- Add a record to the fields to be written, in its ring; return the numbers of records after it.
  local function add_record(fields, record, turns, untaken)
    local is_untaken = string.match(record, '^%S*  ') -- it has no root
    fields[#fields + 1] = is_untaken and untaken_field(untaken) or turn_field(turns)
    fields[#fields + 1] = record
    if is_untaken then return turns, untaken + 1 end
    return turns + 1, untaken
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
        turns, untaken = add_record(fields, record, turns, untaken)
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

  -- The tokens that the records name, as the state holds them. They stand for those of a damaged text.
  local function recorded(state)
    local found = {}
    for _, record in ipairs(all_records(state)) do
      local used = string.match(record, '^(%S+) ')
      if used then found[#found + 1] = used .. ' ' .. whole(now) .. ' ' end
    end
    return table.concat(found)
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

  -- The tokens of a damaged text, each copy for itself, and those that the records name, as `parted` returns them.
  local function damaged_parted(state, tokens, latest)
    local pairs_of, moved = {}, {}
    for used, instant in string.gmatch((tokens or '') .. recorded(state), '(%S+) ([%d.]+) ') do
      pairs_of[#pairs_of + 1] = {instant, used}
    end
    local first = math.max(#pairs_of - 2 * latest, 0)
    for i = 1, first do moved[#moved + 1], moved[#moved + 2] = pairs_of[i][1], pairs_of[i][2] end
    local words = {''}
    for i = first + 1, #pairs_of do words[#words + 1] = pairs_of[i][2] .. ' ' .. pairs_of[i][1] end
    return moved, table.concat(words, ' ') .. ' '
  end

  -- The tokens that the state holds, without the latest ones, as `use_in_set` takes them; and the text of the latest.
  local function parted(state, tokens, latest)
    local used, ends, first = {}, {}, 2
    while tokens and first <= #tokens do
      local each, instant, after = string.match(tokens, '^(%S+) ([%d.]+) %1 %2 ()', first)
      if not each then break end
      used[#used + 1], used[#used + 2], ends[#ends + 1], first = instant, each, after, after
    end
    if not tokens or string.sub(tokens, 1, 1) ~= ' ' or first <= #tokens then return damaged_parted(state, tokens, latest) end
    local moved = math.max(#ends - latest, 0)
    return {unpack(used, 1, 2 * moved)}, ' ' .. string.sub(tokens, ends[moved] or 2)
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

  made = {
    turn_field = turn_field, untaken_field = untaken_field, add_record = add_record, audited = audited, check_of = check_of, expire = expire, convert = convert, all_records = all_records,
    records = records, recorded = recorded, use_in_set = use_in_set, with_earlier = with_earlier,
    drop_tokens = drop_tokens, damaged_parted = damaged_parted, parted = parted, drop_expired = drop_expired,
  }
  return made
end
