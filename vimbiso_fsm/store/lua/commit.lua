-- The commit of a turn, and of a message without one.

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
    return current('duplicate', state, others().records(state))
  end
  if version ~= ARGV[4] or digest ~= ARGV[5] then return current('conflict', state) end
  if ARGV[6] ~= '' and now > tonumber(ARGV[6]) then return current('late', state) end
  if mode ~= 'commit' then call('LLEN', KEYS[4]) end -- for its type alone: a commit writes to it first
  if mode == 'verify' then return {KEYS[1], token, 'committed', at} end
  local has_set = not apart[KEYS[5]] -- otherwise the tokens stay in the state until a later turn
  if mode == 'remember' then
    local ends = state.is_kept and state.ends or now + TOKEN_KEPT
    local numbers = state.turns .. ' ' .. state.untaken + 1 .. ' ' .. whole(ends)
    call('HSET', KEYS[1], 'm', numbers, others().untaken_field(state.untaken), ARGV[7])
    if not state.is_kept then call('EXPIREAT', KEYS[1], whole(ends)) end
    if has_set then
      others().use_in_set(others().with_earlier({whole(now), token}))
    else
      call('HSET', KEYS[1], 't', with_own(latest(state)))
    end
    others().drop_tokens()
    return {KEYS[1], token, 'committed', at}
  end

  if ARGV[17] and not has_set then error({err = TRY_AGAIN}) end
  local forgets, is_stranger, wake = ARGV[16] ~= '', ARGV[16] == 's', ARGV[13]
  local woken = (wake ~= '' or is_stranger) and call('ZSCORE', KEYS[6], ARGV[14])
  local entries = append(4, ARGV[7] .. ' ' .. ARGV[8] .. ' ', ARGV[12], AUDIT_KEPT) -- refused for memory, or none is

  -- Lives are renewed when they would be too short: about once a day.
  local life = is_stranger and tonumber(ARGV[15]) or math.max(ARGV[15], TOKEN_KEPT)
  local renews = state.ends < now + life
  local ends = renews and whole(now + life + life / 30) or whole(state.ends)

  local turns, untaken, tokens, moved = state.turns, state.untaken, latest(state)
  local fields = {'v', ARGV[7], 'h', ARGV[8], 'c', ARGV[9], 'd', ARGV[10]}
  local after = 17 + 2 * (ARGV[17] or 0)
  for i = after + 1, #ARGV do turns, untaken = others().add_record(fields, ARGV[i], turns, untaken) end
  if ARGV[11] ~= '' then -- as `add_record` does, without the look whether it is that of a turn
    fields[#fields + 1], fields[#fields + 2] = 'r' .. turns % RECORDS_KEPT, ARGV[11]
    turns = turns + 1
  end
  if is_stranger and has_set then
    moved = {whole(now), token}
  else
    tokens = with_own(tokens)
    if ARGV[7] % 4 == 0 and has_set then moved, tokens = others().parted(state, tokens, TOKENS_IN_STATE) end
  end
  if state.d and not forgets then
    fields[#fields + 1], fields[#fields + 2] = 'p', version .. ' ' .. digest .. ' ' .. state.c .. ' ' .. state.d
  end
  call('HSET', KEYS[1], 't', tokens, 'm', turns .. ' ' .. untaken .. ' ' .. ends, unpack(fields))
  if forgets then call('HDEL', KEYS[1], 'p') end
  if has_set and (moved or #earlier > 0) then others().use_in_set(others().with_earlier(moved or {})) end
  if after > 17 then
    local inherited = {}
    for i = 18, after, 2 do inherited[#inherited + 1], inherited[#inherited + 2] = ARGV[i + 1], ARGV[i] end
    others().use_in_set(inherited, 'NX')
  end
  if wake ~= '' then
    if not woken or tonumber(woken) > tonumber(wake) then call('ZADD', KEYS[6], wake, ARGV[14]) end
  elseif woken then
    call('ZREM', KEYS[6], ARGV[14])
  end
  if renews or entries < 3 then -- an entry that stood alone may have been kept for longer, see `drop_oldest`
    if renews then call('EXPIREAT', KEYS[1], ends) end
    if is_stranger then others().expire(4, tonumber(ends)) else call('EXPIREAT', KEYS[4], whole(now + AUDIT_LIFE + life / 30)) end
    others().drop_expired(4, OF_ENTRIES)
    others().drop_tokens()
  end
  return {KEYS[1], token, 'committed', at}
end
