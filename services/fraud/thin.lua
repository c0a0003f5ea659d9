-- Leaves hashes out of the bands: among many that look the same they needn't be found. Who shows one again, puts it back.
-- ARGV: each hash, and how many photos have it, unless another came meanwhile.
for i = 2, #ARGV, 2 do
    if redis.call('ZCARD', prefix .. 'in-order:' .. ARGV[i]) == tonumber(ARGV[i + 1]) then
        out_of_the_bands(ARGV[i])
        redis.call('SADD', prefix .. 'left-out', ARGV[i])
    end
end
return 1
