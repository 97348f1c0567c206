-- The script of the store. Each request that must be atomic is one of its modes. requests.py has the rules.
--
-- KEYS  1 state  2 prev  3 turns  4 audit  5 tokens  6 due     (layout.py has the table of keys; 2 and 3 of layout 2)
--       7-12 their places in quarantine, 13 the list of these places (set_aside only)
-- ARGV  1 mode  2 token (of a commit, then its tokens of other keys; else the name of the mode)  3 shift of the clock in seconds  4- of the mode
--
-- script.py joins the parts of the script, and writes the numbers of retention.py in the place of its names, in capitals. Each
-- call makes its functions and tables anew, so a usual commit should meet few of them.
--
-- Every reply starts with KEYS[1] and the token, so that a client recognises its own. Documents, entries and records are
-- opaque bytes, because cjson would break big integers and empty lists. Only redis.call is used, because pcall can
-- report a false success. Lua has no rollback, so all commands that can fail precede the first write. The server may
-- refuse the first write for lack of memory, unless it frees some; after it, it refuses nothing more.

local KEYS, ARGV, call, apart = KEYS, ARGV, redis.call, {}

local TRY_AGAIN = 'TRYAGAIN a key is missing at the old node of a slot, which makes none while it hands the slot over'

-- A request whose slot a cluster hands over to another node (handover.py): only those of its keys that are at this node are
-- KEYS. ARGV 2 'source' or 'goal'  3 number of its keys  4- these keys, then the words of the request
-- The other keys are at neither node, or are not used. The source may not even look at them: here they read as empty.
if ARGV[1] == 'apart' then
  local named, words, here, last = {}, {}, {}, 3 + ARGV[3]
  local EMPTY = {
    GET = false, EXISTS = 0, LINDEX = false, ZSCORE = false, LLEN = 0, ZCOUNT = 0, PTTL = -2, LRANGE = {}, ZRANGE = {},
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
    if command == 'RENAME' or is_apart and EMPTY[command] == nil then error({err = TRY_AGAIN}) end
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
local microseconds = time[1] * 1000000 + time[2] + ARGV[3] * 1000000
local now, at = microseconds / 1000000, string.format('%d.%06d', microseconds / 1000000, microseconds % 1000000)
local oldest = now - TOKEN_KEPT -- a token that was used then or earlier is forgotten

-- An instant in seconds; %.14g of tostring would cut digits, and %.0f costs five times as much.
local function whole(instant)
  return string.format('%d', math.ceil(instant))
end
