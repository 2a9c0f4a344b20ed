-- Ends a halt and keeps who did it, if it is the expected one.
local state, cleared = KEYS[1], KEYS[2]
local scope, act, expected, hand, most = unpack(ARGV)
if redis.call('HEXISTS', state, 'armed') == 0 then
  return redis.error_reply('it is not armed')
end
local flag = redis.call('HGET', state, 'flag:' .. scope)
if not flag then
  return false
end
local read, own = pcall(cjson.decode, flag == '' and hand or flag)
if expected ~= '' and not (read and own['id'] == expected) then
  return false
end
-- Nobody counted it when it was made, so every writ from before dies.
if flag == '' then
  flag = hand
  redis.call('HINCRBY', state, 'epoch', 1)
end
redis.call('LPUSH', cleared, '{"flag":' .. flag .. ',"act":' .. act .. '}')
redis.call('LTRIM', cleared, 0, tonumber(most) - 1)
redis.call('HDEL', state, 'flag:' .. scope)
redis.call('HINCRBY', state, 'generation', 1)
return flag
