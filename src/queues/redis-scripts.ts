import { createHash } from 'node:crypto'

/**
 * What happens inside Redis, one script per operation, so that a record and its place in every index change together.
 * Every key starts with `{alert-fanout}:`, one hash tag, so that all lie in one slot:
 * `r:<id>` a record: a hash with `e` (its end), `p` (its place) and one field `.name` per field, as JSON;
 * `d:<priority>:<target>` and `a:<priority>:<target>` places by due and by accepted time; `targets` those with any;
 * `ids` what can be listed; `ends` when records with a place or in the list end (the others end by PEXPIREAT);
 * `l:<lane>` who has a lane; `h:<lane>` who had it last and has not given it back; `next` the last number given.
 */
export const prefix = '{alert-fanout}:'

/** Only what starts with one of these can be listed. */
export const listed = ['entry/', 'dead/', 'pledge/']

const common = `
local P = '${prefix}'
local priorities = { 'high', 'medium', 'low' }

local function takeOut(id, place)
  local priority, target = string.match(place, '^(%a+) %S+ %S+ (.*)$')
  redis.call('ZREM', P .. 'd:' .. priority .. ':' .. target, id)
  redis.call('ZREM', P .. 'a:' .. priority .. ':' .. target, id)
  for _, each in ipairs(priorities) do
    if redis.call('EXISTS', P .. 'd:' .. each .. ':' .. target) == 1 then return end
  end
  redis.call('SREM', P .. 'targets', target)
end

local function putIn(id, priority, dueAt, acceptedAt, target)
  redis.call('ZADD', P .. 'd:' .. priority .. ':' .. target, dueAt, id)
  redis.call('ZADD', P .. 'a:' .. priority .. ':' .. target, acceptedAt, id)
  redis.call('SADD', P .. 'targets', target)
  redis.call('HSET', P .. 'r:' .. id, 'p', priority .. ' ' .. dueAt .. ' ' .. acceptedAt .. ' ' .. target)
end

local function forget(id)
  local place = redis.call('HGET', P .. 'r:' .. id, 'p')
  if place then takeOut(id, place) end
  redis.call('DEL', P .. 'r:' .. id)
  redis.call('ZREM', P .. 'ids', id)
  redis.call('ZREM', P .. 'ends', id)
end

local function sweep(now)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'ends', '-inf', now, 'LIMIT', 0, 100)) do forget(id) end
end
`

const sources = {
  /** now, lanes n, (lane, token) × n, fields m, (id, field, what it was) × m, then changes: see `flat` in redis.ts. */
  write: `
local now, at = tonumber(ARGV[1]), 2
for _ = 1, tonumber(ARGV[2]) do
  if redis.call('GET', P .. 'l:' .. ARGV[at + 1]) ~= ARGV[at + 2] then
    return redis.error_reply('LEASE lost')
  end
  at = at + 2
end
at = at + 1
for _ = 1, tonumber(ARGV[at]) do
  local ends, is = unpack(redis.call('HMGET', P .. 'r:' .. ARGV[at + 1], 'e', '.' .. ARGV[at + 2]))
  if not ends or ends ~= 'inf' and tonumber(ends) <= now then is = false end
  if (is or '') ~= ARGV[at + 3] then return redis.error_reply('CHANGED meanwhile') end
  at = at + 3
end
at = at + 1
while ARGV[at] do
  local id, mode, ends, place = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local dueAt, acceptedAt, target, count = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], tonumber(ARGV[at + 7])
  at = at + 8
  local key = P .. 'r:' .. id
  local old = redis.call('HMGET', key, 'e', 'p')
  if old[1] and old[1] ~= 'inf' and tonumber(old[1]) <= now then
    forget(id)
    old = { false, false }
  end
  if mode == 'drop' then forget(id) end
  if mode == 'drop' or mode == 'update' and not old[1] then
    at = at + 2 * count
  else
    local canBeListed = ${listed.map(family => `string.sub(id, 1, ${family.length}) == '${family}'`).join(' or ')}
    if mode == 'replace' then
      redis.call('DEL', key)
      if old[2] then redis.call('HSET', key, 'p', old[2]) end
    end
    local placed = old[2]
    if place ~= '' then
      if old[2] then takeOut(id, old[2]) end
      placed = place ~= 'none'
      if placed then putIn(id, place, dueAt, acceptedAt, target) else redis.call('HDEL', key, 'p') end
    end
    for _ = 1, count do
      if ARGV[at + 1] == '' then redis.call('HDEL', key, '.' .. ARGV[at])
      else redis.call('HSET', key, '.' .. ARGV[at], ARGV[at + 1]) end
      at = at + 2
    end
    if mode == 'tidy' and redis.call('HLEN', key) == (old[1] and 1 or 0) + (placed and 1 or 0) then
      forget(id)
    else
      if ends == '' then ends = old[1] or 'inf' end
      redis.call('HSET', key, 'e', ends)
      if canBeListed then redis.call('ZADD', P .. 'ids', 0, id) end
      if ends == 'inf' or canBeListed or placed then redis.call('PERSIST', key) else redis.call('PEXPIREAT', key, ends) end
      if ends ~= 'inf' and (canBeListed or placed) then redis.call('ZADD', P .. 'ends', ends, id)
      else redis.call('ZREM', P .. 'ends', id) end
    end
  end
end
return 'OK'`,

  /** now, target, priority, until, limit */
  due: `
sweep(ARGV[1])
return redis.call('ZRANGEBYSCORE', P .. 'd:' .. ARGV[3] .. ':' .. ARGV[2], '-inf', ARGV[4], 'LIMIT', 0, ARGV[5])`,

  /** now → target, dueAt, … */
  earliest: `
sweep(ARGV[1])
local answer = {}
for _, target in ipairs(redis.call('SMEMBERS', P .. 'targets')) do
  local least
  for _, priority in ipairs(priorities) do
    local first = redis.call('ZRANGE', P .. 'd:' .. priority .. ':' .. target, 0, 0, 'WITHSCORES')[2]
    if first and (not least or tonumber(first) < tonumber(least)) then least = first end
  end
  if least then
    answer[#answer + 1] = target
    answer[#answer + 1] = least
  end
end
return answer`,

  /** now, target, dueAt, limit → how many were moved */
  hasten: `
sweep(ARGV[1])
local moved = 0
for _, priority in ipairs(priorities) do
  local due = P .. 'd:' .. priority .. ':' .. ARGV[2]
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '(' .. ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])) do
    local place = redis.call('HGET', P .. 'r:' .. id, 'p')
    local acceptedAt = place and string.match(place, '^%a+ %S+ (%S+) ')
    if acceptedAt then putIn(id, priority, ARGV[3], acceptedAt, ARGV[2]) else redis.call('ZREM', due, id) end
    moved = moved + 1
  end
end
return moved`,

  /** now, target */
  owed: `
sweep(ARGV[1])
local count = 0
for _, priority in ipairs(priorities) do
  count = count + redis.call('ZCARD', P .. 'd:' .. priority .. ':' .. ARGV[2])
end
return count`,

  /** now → target, (count, oldest) × 3, … */
  depths: `
sweep(ARGV[1])
local answer = {}
for _, target in ipairs(redis.call('SMEMBERS', P .. 'targets')) do
  answer[#answer + 1] = target
  for _, priority in ipairs(priorities) do
    local age = P .. 'a:' .. priority .. ':' .. target
    answer[#answer + 1] = redis.call('ZCARD', age)
    answer[#answer + 1] = redis.call('ZRANGE', age, 0, 0, 'WITHSCORES')[2] or ''
  end
end
return answer`,

  /** now, target, limit */
  weakest: `
sweep(ARGV[1])
local answer = {}
for at = 3, 1, -1 do
  local left = tonumber(ARGV[3]) - #answer
  if left <= 0 then break end
  for _, id in ipairs(redis.call('ZRANGE', P .. 'a:' .. priorities[at] .. ':' .. ARGV[2], 0, left - 1)) do
    answer[#answer + 1] = id
  end
end
return answer`,

  /** now, from, to, limit, bytes, names… (none: all) → id, fields, … until there are so many bytes */
  list: `
sweep(ARGV[1])
local answer, bytes = {}, 0
for _, id in ipairs(redis.call('ZRANGEBYLEX', P .. 'ids', ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])) do
  local fields = {}
  if ARGV[6] then
    for at = 6, #ARGV do
      local value = redis.call('HGET', P .. 'r:' .. id, ARGV[at])
      if value then
        fields[#fields + 1] = ARGV[at]
        fields[#fields + 1] = value
      end
    end
  else
    fields = redis.call('HGETALL', P .. 'r:' .. id)
  end
  for _, each in ipairs(fields) do bytes = bytes + #each end
  answer[#answer + 1] = id
  answer[#answer + 1] = fields
  if bytes > tonumber(ARGV[5]) then break end
end
return answer`,

  next: `
local time = redis.call('TIME')
local number = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', P .. 'next') or '0') + 1)
local text = string.format('%.0f', number)
redis.call('SET', P .. 'next', text)
return text`,

  /**
   * owner, token, milliseconds, lanes… → 0 if somebody has one of them, else those that somebody had and never gave back. A
   * lane that this owner has already goes over to the new token. `h:<lane>` outlives the lease by a day.
   */
  hold: `
for at = 4, #ARGV do
  local token = redis.call('GET', P .. 'l:' .. ARGV[at])
  if token and string.sub(token, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
end
local inherited = {}
for at = 4, #ARGV do
  local had = redis.call('GET', P .. 'h:' .. ARGV[at])
  if had and string.sub(had, 1, #ARGV[1]) ~= ARGV[1] then inherited[#inherited + 1] = ARGV[at] end
  redis.call('SET', P .. 'l:' .. ARGV[at], ARGV[2], 'PX', ARGV[3])
  redis.call('SET', P .. 'h:' .. ARGV[at], ARGV[2], 'PX', 86400000)
end
return inherited`,

  /** milliseconds, (lane, token)… → 1 or 0 for each */
  renew: `
local answer = {}
for at = 2, #ARGV, 2 do
  local mine = redis.call('GET', P .. 'l:' .. ARGV[at]) == ARGV[at + 1]
  if mine then redis.call('PEXPIRE', P .. 'l:' .. ARGV[at], ARGV[1]) end
  answer[#answer + 1] = mine and 1 or 0
end
return answer`,

  /** lanes… → those that anybody has */
  taken: `
local answer = {}
for _, lane in ipairs(ARGV) do
  if redis.call('EXISTS', P .. 'l:' .. lane) == 1 then answer[#answer + 1] = lane end
end
return answer`,

  /** token, lanes… */
  release: `
for at = 2, #ARGV do
  if redis.call('GET', P .. 'l:' .. ARGV[at]) == ARGV[1] then
    redis.call('DEL', P .. 'l:' .. ARGV[at], P .. 'h:' .. ARGV[at])
  end
end
return 1`
}

export type ScriptName = keyof typeof sources

/** Each script's text, and the hash by which Redis knows it once it was loaded. */
export const scripts = Object.fromEntries(
  Object.entries(sources).map(([name, source]) => {
    const text = common + source
    return [name, { text, hash: createHash('sha1').update(text).digest('hex') }]
  })
) as Record<ScriptName, { text: string; hash: string }>
