-- The listing was removed, for ever: its photos match nothing any more.
local listing = ARGV[2]
redis.call('HSET', prefix .. 'listing:' .. listing, 'removed', '1')
for _, sha in ipairs(redis.call('SMEMBERS', prefix .. 'photos:' .. listing)) do drop(sha .. '/' .. listing) end
redis.call('DEL', prefix .. 'photos:' .. listing, prefix .. 'current:' .. listing)
return 1
