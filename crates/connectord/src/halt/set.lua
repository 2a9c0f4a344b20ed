-- Sets a flag first, so that nothing that fails after it undoes the halt.
local state = KEYS[1]
local scope, flag, since, oldest, global, most, most_of_tenant, made = unpack(ARGV)
-- A halt that stands is not ended by one that ends earlier.
local standing = redis.call('HGET', state, 'flag:' .. scope)
-- One that a hand made is only given its time, while it stands as it was made.
if made == '1' and standing ~= '' then
  return 0
end
if standing then
  local read, old = pcall(cjson.decode, standing)
  local ends, own = read and tonumber(old['until']) or 0, cjson.decode(flag)
  if own['until'] > 0 and (ends == 0 or ends > own['until']) then
    flag = string.gsub(flag, '"until":%d+', '"until":' .. string.format('%.0f', ends))
  end
end
redis.call('HSET', state, 'flag:' .. scope, flag)
-- What was killed once does not live again: the latest time stays.
local latest = tonumber(since)
local kept = {}
for line in string.gmatch(redis.call('HGET', state, 'recent') or '', '[^\n]+') do
  local at, of = string.match(line, '^(%-?%d+) (.+)$')
  if at and tonumber(at) >= tonumber(oldest) then
    if of ~= scope then
      kept[#kept + 1] = line
    else
      latest = math.max(latest, tonumber(at))
    end
  end
end
kept[#kept + 1] = string.format('%.0f', latest) .. ' ' .. scope
-- Many halts of one tenant are remembered as one of the whole tenant.
local tenant = string.match(scope, '^tenant:[^/]+')
if tenant then
  local others = {}
  for _, line in ipairs(kept) do
    local at, of = string.match(line, '^(%-?%d+) (.+)$')
    if of ~= tenant and string.sub(of, 1, #tenant + 1) ~= tenant .. '/' then
      others[#others + 1] = line
    else
      latest = math.max(latest, tonumber(at))
    end
  end
  if #kept - #others > tonumber(most_of_tenant) then
    others[#others + 1] = string.format('%.0f', latest) .. ' ' .. tenant
    kept = others
  end
end
-- What is no longer remembered by scope dies with every other writ.
local many = #kept > tonumber(most)
while #kept > tonumber(most) / 2 and many do
  table.remove(kept, 1)
end
redis.call('HSET', state, 'recent', table.concat(kept, '\n'))
if global == '1' or many then
  redis.call('HINCRBY', state, 'epoch', 1)
end
return redis.call('HINCRBY', state, 'generation', 1)
