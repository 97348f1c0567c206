-- Requests about keys that belong to no single member: the index, the owner of the store, shards, workers, incidents.

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

local function owner(names, last)
  local own = entry(1, names)
  if own or names == last then return {KEYS[1], token, 'read', at, own, 1} end
  local other = entry(names + 1, last)
  return {KEYS[1], token, 'read', at, other, other and 0 or 1}
end

-- Whether a way is marked as done at the channel, by KEYS after those of entries, of which none are there without a way;
-- mark it if not. The mark is the first write, so that it may be refused.
local function is_done(last)
  for i = last + 1, #KEYS do
    if call('EXISTS', KEYS[i]) == 1 then return true end
  end
  if last < #KEYS then call('SET', KEYS[last + 1], '', 'EX', WAY_LIFE) end
  return false
end

if mode == 'look_up' then -- ARGV 4 number of names of the channel's own entry  5 a guest who gets it if it has no owner
  local found = owner(tonumber(ARGV[4]), #KEYS)
  if not found[5] and ARGV[5] then
    call('SET', KEYS[1], ARGV[5], 'EX', NAME_LIFE)
    found[5] = ARGV[5]
  elseif found[5] and found[6] == 1 and call('PTTL', KEYS[1]) > 0 then
    call('EXPIREAT', KEYS[1], whole(now + NAME_LIFE))
  end
  return found
end
-- ARGV 4 number of marks  5 member  6 the owner that it replaces, or ''  7 '1' if the member is a guest, or nothing
if mode == 'link' then -- KEYS: names of the channel's own entry, then of the mark of a way
  local last = #KEYS - ARGV[4]
  local found = entry(1, last)
  if found and found ~= ARGV[5] and found ~= ARGV[6] or is_done(last) then return {KEYS[1], token, 'read', at, found} end
  call('SET', KEYS[1], ARGV[5])
  if ARGV[7] then call('EXPIREAT', KEYS[1], whole(now + NAME_LIFE)) end
  return {KEYS[1], token, 'read', at, ARGV[5]}
end
if mode == 'free' then -- ARGV 4 member  KEYS: one entry; one of another type leads to no member
  local kind = call('TYPE', KEYS[1]).ok
  local freed = kind == 'none' or (kind == 'string' and call('GET', KEYS[1]) == ARGV[4]) -- none: its reply was lost
  if freed then call('DEL', KEYS[1]) end
  return {KEYS[1], token, 'read', at, freed and 1 or 0}
end
if mode == 'unlink' then -- ARGV 4 number of names of the channel's own entry  5 number of marks, of the last KEYS  6 member
  local last = #KEYS - ARGV[5]
  local kept = {}
  for i = 1, last do kept[i] = call('GET', KEYS[i]) ~= ARGV[6] end
  if not is_done(last) then
    for i = 1, last do
      if not kept[i] then call('DEL', KEYS[i]) end
    end
  end
  return owner(tonumber(ARGV[4]), last)
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

-- KEYS of this mode: the due sets of several shards.
if mode == 'any_due' then -- ARGV 4 until or ''
  local due, last = {}, ARGV[4] == '' and at or ARGV[4]
  for place = 1, #KEYS do
    local found = call('ZRANGE', KEYS[place], '-inf', last, 'BYSCORE', 'LIMIT', 0, 1)
    if #found > 0 then due[#due + 1] = string.format('%d', place - 1) end
  end
  return {KEYS[1], token, 'read', at, due}
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

-- KEYS of this mode: the sends that a pace counts, the addresses that were sent to and the places in the queue by their
-- ends, and the queue. Of damaged keys nothing is kept, because they are made again within seconds.
if mode == 'pace' then -- ARGV 4 address  5 order  6 limit  7 its seconds  8 burst to the address  9 seconds of one of it
  -- 10 seconds of a pause of the account, which is kept beside the addresses as 'p'
  local name, limit, every, chat_every = ARGV[4], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9])
  local longest = string.format('(%.6f', now + LONGEST_PACE)
  for i = 1, 3 do
    local kind = call('TYPE', KEYS[i]).ok
    if kind ~= 'zset' and kind ~= 'none' then call('UNLINK', KEYS[i]) end
  end
  local function spread(wait) -- of those beyond the bound, over the second half of it
    local over = wait % PACE_WAIT
    return wait <= PACE_WAIT and wait or math.max(PACE_WAIT - over, over)
  end
  call('ZREMRANGEBYSCORE', KEYS[1], longest, '+inf') -- noted while the clock was ahead
  if call('ZREMRANGEBYSCORE', KEYS[2], longest, '+inf') > 0 then call('UNLINK', KEYS[3]) end
  call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at)
  for _, ended in ipairs(call('ZRANGE', KEYS[2], '-inf', at, 'BYSCORE', 'LIMIT', 0, EXPIRED_AT_ONCE)) do
    call('ZREM', KEYS[2], ended)
    if string.sub(ended, 1, 1) == 'w' then call('ZREM', KEYS[3], string.sub(ended, 2)) end
  end
  local full_at = math.max(tonumber(call('ZSCORE', KEYS[2], 'c' .. name) or 0), now) -- when all of the burst is free
  local wait = full_at - now - (ARGV[8] - 1) * chat_every
  local pause = math.max(tonumber(call('ZSCORE', KEYS[2], 'p') or 0) - now, tonumber(ARGV[10]), 0)
  if tonumber(ARGV[10]) > 0 then
    wait = pause
    call('ZADD', KEYS[2], string.format('%.6f', now + pause), 'p')
  elseif wait >= 0.000001 then
    wait = math.max(wait, pause)
    call('ZREM', KEYS[2], 'w' .. name)
    call('ZREM', KEYS[3], name)
  else
    call('ZADD', KEYS[3], 'LT', ARGV[5], name)
    local rank = call('ZRANK', KEYS[3], name)
    local ahead = rank + call('ZCARD', KEYS[1]) - limit
    if pause > 0 then
      wait = pause + spread(math.floor(rank / limit) * every)
      call('ZADD', KEYS[2], string.format('%.6f', now + wait + PACE_GRACE), 'w' .. name)
    elseif ahead < 0 then
      call('ZREM', KEYS[2], 'w' .. name)
      call('ZREM', KEYS[3], name)
      call('ZADD', KEYS[1], string.format('%.6f', now + every), at .. name)
      if chat_every > 0 then call('ZADD', KEYS[2], string.format('%.6f', full_at + chat_every), 'c' .. name) end
    else
      local next_free = call('ZRANGE', KEYS[1], ahead % limit, ahead % limit, 'WITHSCORES')[2] or now + every
      wait = spread(next_free - now + math.floor(ahead / limit) * every)
      call('ZADD', KEYS[2], string.format('%.6f', now + wait + PACE_GRACE), 'w' .. name)
    end
  end
  for i = 1, 3 do call('EXPIREAT', KEYS[i], whole(now + LONGEST_PACE)) end
  return {KEYS[1], token, 'read', at, string.format('%.6f', wait > 0 and math.max(wait, 0.000001) or 0)}
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
    others().drop_expired(1, OF_INCIDENTS)
    call('EXPIREAT', KEYS[1], whole(now + AUDIT_LIFE))
  end
  return {KEYS[1], token, 'read', at}
end
if mode == 'incidents' then return {KEYS[1], token, 'read', at, call('LRANGE', KEYS[1], ARGV[4], ARGV[5])} end
