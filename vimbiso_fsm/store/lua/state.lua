-- What is stored of a member: the fields of the state, the records, the tokens and the audit.

-- The fields of the state: version, digest, document and check; the latest tokens; the numbers of records so far of
-- turns and of messages without one, and the instant at which the state ends; the replies of its outbox that were sent.
local function read_state()
  local f = call('HMGET', KEYS[1], 'v', 'h', 'd', 'c', 't', 'm', 's')
  local turns, untaken, ends = string.match(f[6] or '', '^(%d+) (%d+) (%d+)$')
  if not turns and others().convert(f[1], f[2], f[3], f[4], f[5]) then return read_state() end
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
  local version, digest = others().audited()
  if not version then error({err = 'WRONGTYPE the audit is not framed'}) end
  return version, digest
end

-- The stored data: the same structure for a load and for every commit that is not made.
local function current(status, state, more)
  local version, digest = head(state)
  return {KEYS[1], token, status, at, version, digest, {state.v, state.h, state.d, state.c, state.sent, state.messages}, more}
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
    return not is_whole and state.turns > 0 and #others().records(state) > 0
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

-- The latest tokens of a state, and with the own token of this request. They begin and end with a space, except that a
-- worker of layout 2 left none at the end. A state with turns always has some. Those of other keys are in the set, if it
-- is here.
local function latest(state)
  local tokens = state.tokens or ''
  if string.sub(tokens, -1) ~= ' ' then tokens = tokens .. ' ' end
  if string.sub(tokens, 1, 1) == ' ' and (state.tokens or state.turns == 0) then return tokens end
  return ' ' .. tokens .. others().recorded(state)
end

local function with_own(tokens)
  local used = token .. ' ' .. whole(now) .. ' '
  tokens = tokens .. used .. used
  if apart[KEYS[5]] then
    for _, other in ipairs(earlier) do tokens = tokens .. other .. ' ' .. whole(now) .. ' ' end
  end
  return tokens
end

-- Append a frame, which is its words, "@<at> " and its body, to a list that is kept by count; return its length. What is
-- beyond the count is dropped together, because to drop a frame with each append costs as much as to append it.
local function append(i, words, body, kept)
  local length = call('RPUSH', KEYS[i], words .. '@' .. at .. ' ' .. body)
  if length > kept + TRIMMED_AT_ONCE then call('LTRIM', KEYS[i], -kept, -1) end
  return length
end
