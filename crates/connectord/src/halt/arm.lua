-- Says that what is here is right, and rises above whatever was here before.
local state = KEYS[1]
local act, above = unpack(ARGV)
for _, field in ipairs({ 'epoch', 'generation' }) do
  local own = (tonumber(redis.call('HGET', state, field)) or 0) + 1
  redis.call('HSET', state, field, string.format('%.0f', math.max(own, tonumber(above))))
end
redis.call('HSET', state, 'armed', act)
return 1
